/* What is put into /dev: devices, and symlinks. */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Flags of make-device, pyoci/plan/devices.py. */
enum { DEVICE_LEAVE = 1, DEVICE_FROM_HOST = 2 };

static bool is_device(const struct stat *st, mode_t mode, dev_t device)
{
	if ((st->st_mode & S_IFMT) != (mode & S_IFMT))
		return false;
	return S_ISFIFO(mode) || st->st_rdev == device;
}

/* The host's device of these numbers: where the path says, or where udev(7) has a link to it. */
static int open_hosts_device(const char *path, mode_t mode, dev_t device)
{
	char by_number[sizeof("/dev/block/:") + 20];
	const char *places[] = { path, by_number };
	struct stat st;

	snprintf(by_number, sizeof(by_number), "/dev/%s/%u:%u", S_ISBLK(mode) ? "block" : "char", major(device),
		 minor(device));
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		int tree = sys_open_tree(AT_FDCWD, places[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

		if (tree >= 0 && fstat(tree, &st) == 0 && is_device(&st, mode, device))
			return tree;
		if (tree >= 0)
			close(tree);
	}
	errno = ENODEV;
	return -1;
}

static int bind_device(struct init *init, const struct step *step, mode_t mode, dev_t device)
{
	const char *path = step->args[0].s;
	int result, target, tree = -1;

	if (step->args[6].u & DEVICE_FROM_HOST)
		tree = fetch(init, step);
	/* Where the host side may not make it either, and where nobody is root. */
	if (tree < 0)
		tree = open_hosts_device(path, mode, device);
	if (tree < 0)
		return step_failed(init, "mknodat", path);
	target = open_or_make(init, path, 0755, false);
	if (target < 0)
		return step_failed(init, "openat2", path);
	result = attach_mount(init, tree, target, 0, path);
	close(target);
	close(tree);
	return result;
}

/* 0 if it is made, else an errno. */
static int make_node(int parent, const char *name, const struct step *step, mode_t mode, dev_t device)
{
	struct stat st;

	if (step->args[6].u & DEVICE_FROM_HOST)
		return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : EPERM;
	if (mknodat(parent, name, mode, device) != 0 ||
	    fchownat(parent, name, step->args[4].u, step->args[5].u, AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
	return 0;
}

int step_make_device(struct init *init, const struct step *step)
{
	const char *name, *path = step->args[0].s;
	mode_t mode = step->args[1].u;
	dev_t device = makedev(step->args[2].u, step->args[3].u);
	struct stat st;
	int error, parent = open_parent(init, path, &name);

	if (parent < 0)
		return step_failed(init, "openat2", path);
	error = make_node(parent, name, step, mode, device);
	if (error == EEXIST && ((step->args[6].u & DEVICE_LEAVE) ||
				(fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_device(&st, mode, device))))
		error = 0;
	close(parent);
	if (error == EPERM && !S_ISFIFO(mode))
		return bind_device(init, step, mode, device);
	errno = error;
	return error == 0 ? 0 : step_failed(init, "mknodat", path);
}

enum { SYMLINK_REPLACE = 1, SYMLINK_IF_TARGET_EXISTS = 2 };

int step_make_symlink(struct init *init, const struct step *step)
{
	const char *name, *text = step->args[0].s, *path = step->args[1].s;
	int parent, result, error;

	if (step->args[2].u & SYMLINK_IF_TARGET_EXISTS) {
		int target = open_in_root(init, text, O_PATH | O_NOFOLLOW, 0);

		if (target < 0)
			return 0;
		close(target);
	}
	parent = open_parent(init, path, &name);
	if (parent < 0)
		return step_failed(init, "openat2", path);
	result = symlinkat(text, parent, name);
	if (result != 0 && errno == EEXIST) {
		/* What can't be taken away is covered by a mount, or holds something: somebody wants it there. */
		if ((step->args[2].u & SYMLINK_REPLACE) &&
		    (unlinkat(parent, name, 0) == 0 || unlinkat(parent, name, AT_REMOVEDIR) == 0))
			result = symlinkat(text, parent, name);
		else
			result = 0;
	}
	error = errno;
	close(parent);
	errno = error;
	return result == 0 ? 0 : step_failed(init, "symlinkat", path);
}
