/* What pyoci asks of the kernel and the dynamic linker about seccomp; the rest of pyoci._seccomp is libseccomp itself. */
#ifndef _GNU_SOURCE /* Python.h defines it too */
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(SCMP_VER_MAJOR) || SCMP_VER_MAJOR < 2 || (SCMP_VER_MAJOR == 2 && SCMP_VER_MINOR < 5)
#error "pyoci needs libseccomp 2.5.0 or newer"
#endif

/* 1: this kernel takes all of flags (SECCOMP_FILTER_FLAG_*) together, 0: it doesn't.
   seccomp(2): flags are checked before the program is read, so a null program ends in EFAULT and changes nothing. */
static int pyoci_seccomp_flags_supported(unsigned int flags)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) == -1 && errno == EFAULT;
}

/* The file that libseccomp was loaded from (this extension's own if it is linked statically), or NULL. */
static const char *pyoci_seccomp_library(void)
{
	Dl_info info;

	return dladdr((void *)seccomp_init, &info) ? info.dli_fname : NULL;
}
