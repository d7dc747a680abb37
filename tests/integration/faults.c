/* Preloaded into the runtime: one of its calls does what the kernel does once in a million times. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_wanted(const char *fault)
{
	const char *wanted = getenv("FAULT");

	return wanted && strcmp(wanted, fault) == 0;
}

/* The way back from a namespace is refused. */
int setns(int fd, int type)
{
	static int calls;
	int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "setns");

	if (is_wanted("setns back") && calls++ == 1) {
		errno = EPERM;
		return -1;
	}
	return real(fd, type);
}

/* The command stops before it reads the stored config. */
int open64(const char *path, int flags, ...)
{
	int (*real)(const char *, int, mode_t) = (int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open64");
	const char *name = strrchr(path, '/');
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = va_arg(more, mode_t);
	va_end(more);
	if (is_wanted("config") && name && strcmp(name, "/config.json") == 0)
		raise(SIGSTOP);
	return real(path, flags, mode);
}

/* The command stands still before it ends a helper of its own. */
int kill(pid_t pid, int signal)
{
	int (*real)(pid_t, int) = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");

	while (is_wanted("kill"))
		pause();
	return real(pid, signal);
}
