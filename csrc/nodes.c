#include "nodes.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

enum { STACK_SIZE = 64 * 1024 };

struct making {
	struct node *nodes;
	size_t count;
	int error;
};

static int make_filesystem(struct making *making)
{
	int tree = -1, fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs >= 0 && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	/* A part of a mount can be cloned only while that is attached somewhere, before Linux 6.15: open_tree(2). */
	if (tree < 0 || sys_mount_setattr(AT_FDCWD, "/", 0, 0, 0, MS_PRIVATE) != 0 ||
	    sys_move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
		making->error = errno;
	if (fs >= 0)
		close(fs);
	return tree;
}

static int make_node(int directory, struct node *node, size_t number)
{
	char name[24];

	snprintf(name, sizeof(name), "%zu", number);
	if (mknodat(directory, name, node->mode, makedev(node->major, node->minor)) != 0 ||
	    fchownat(directory, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	node->tree = sys_open_tree(directory, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return node->tree < 0 ? -1 : 0;
}

/* In a mount namespace of its own, on our memory and with our descriptors. */
static int make_all(void *argument)
{
	struct making *making = argument;
	int directory;

	umask(0);
	directory = make_filesystem(making);
	for (size_t i = 0; directory >= 0 && making->error == 0 && i < making->count; i++)
		if (make_node(directory, &making->nodes[i], i) != 0)
			making->error = errno;
	if (directory >= 0)
		close(directory);
	return 0;
}

static int make_on_stack(struct making *making, char *stack)
{
	sigset_t all, before;
	int pid, error;

	/* A handler of ours must not run in the child, on memory that is still ours. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = clone(make_all, stack + STACK_SIZE, CLONE_NEWNS | CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, making);
	error = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return error;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return making->error;
}

int nodes_make(struct node *nodes, size_t count)
{
	struct making making = { nodes, count, 0 };
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int error;

	if (stack == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < count; i++)
		nodes[i].tree = -1;
	error = make_on_stack(&making, stack);
	munmap(stack, STACK_SIZE);
	for (size_t i = 0; error && i < count; i++)
		if (nodes[i].tree >= 0)
			close(nodes[i].tree);
	errno = error;
	return error ? -1 : 0;
}
