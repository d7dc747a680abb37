/* Mount trees that the host side makes for a container: what its own root could not open, or not map. */
#include "trees.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int tree_open(const char *source, int recursive, int follow, int peer)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
	int tree = sys_open_tree(AT_FDCWD, source, flags | (follow ? 0 : AT_SYMLINK_NOFOLLOW)), error;

	/* A clone of a shared mount is its peer: what the container mounts in it would be mounted on the host. */
	if (tree >= 0 && !peer && sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE) != 0) {
		error = errno;
		close(tree);
		errno = error;
		return -1;
	}
	return tree;
}

int tree_bind(const char *source, const char *target)
{
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	int error, result = -1;

	if (tree < 0)
		return -1;
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE) == 0)
		result = sys_move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
	error = errno;
	close(tree);
	errno = error;
	return result;
}

int tree_set_attributes(int tree, uint64_t set, uint64_t clear, int recursive)
{
	return sys_mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), set, clear, 0);
}

int tree_idmap(int tree, int recursive, int user_namespace)
{
	return sys_mount_idmap(tree, recursive ? AT_RECURSIVE : 0, user_namespace);
}

/* The kernel wants each map in one write, user_namespaces(7). */
static bool write_map(pid_t pid, const char *name, const char *text)
{
	char path[64];
	bool written;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* Wait, but no longer than the parent lives. */
static _Noreturn void hold_for(pid_t parent)
{
	/* The parent may have died before this was set: then there is another. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		while (getppid() == parent)
			syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	_exit(0);
}

int user_namespace_with(const char *uid_map, const char *gid_map)
{
	char path[64];
	int fd = -1, error;
	pid_t parent = getpid();
	/* Only the raw call: nobody but this process's copy lives in it, and it does nothing but wait for its end. */
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid < 0)
		return -1;
	if (pid == 0)
		hold_for(parent);
	if (write_map((pid_t)pid, "uid_map", uid_map) && write_map((pid_t)pid, "gid_map", gid_map)) {
		snprintf(path, sizeof(path), "/proc/%ld/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	error = errno;
	kill((pid_t)pid, SIGKILL);
	waitpid((pid_t)pid, NULL, 0);
	errno = error;
	return fd;
}
