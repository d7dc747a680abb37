/* A program that is executed inside containers must not be writable from there (CVE-2019-5736): /proc/PID/exe leads to it. */
#include "seal.h"
#include "syscalls.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* A read-only bind mount that is attached nowhere: no copy, and no way to a writable view of the file. */
static int detached_bind(const char *path)
{
	int tree = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree >= 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0) != 0) {
		close(tree);
		return -1;
	}
	return tree;
}

static bool copy_file(int source, int copy)
{
	struct stat st;
	off_t left;

	if (fstat(source, &st) != 0)
		return false;
	for (left = st.st_size; left > 0;) {
		ssize_t sent = sendfile(copy, source, NULL, (size_t)left);

		if (sent <= 0)
			return false;
		left -= sent;
	}
	return true;
}

/* For those who may not mount: a copy in memory that nobody can change any more. It is opened again for reading, since
 * execve(2) refuses (ETXTBSY) what is open for writing. */
static int sealed_copy(const char *path)
{
	char reopen[sizeof("/proc/self/fd/") + 10];
	int source = open(path, O_RDONLY | O_CLOEXEC), copy, sealed = -1;

	if (source < 0)
		return -1;
	copy = memfd_create("pyoci-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy >= 0 && copy_file(source, copy) &&
	    fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0) {
		snprintf(reopen, sizeof(reopen), "/proc/self/fd/%d", copy);
		sealed = open(reopen, O_RDONLY | O_CLOEXEC);
	}
	if (copy >= 0)
		close(copy);
	close(source);
	return sealed;
}

int seal_program(const char *path)
{
	int fd = detached_bind(path);

	return fd >= 0 ? fd : sealed_copy(path);
}
