/* maskedPaths and readonlyPaths: what the container shall not read, or not change. */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* An empty directory that nobody can fill. One serves all masks: a superblock each is what made many containers slow on
 * large machines (runc issue 5275). */
static int empty_directory(struct init *init)
{
	int fs, tree;

	if (init->empty >= 0)
		return sys_open_tree(init->empty, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0) != 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "555", 0) != 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) != 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) != 0 ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return -1;
	tree = sys_fsmount(fs, FSMOUNT_CLOEXEC,
			   MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	close(fs);
	init->empty = tree;
	return tree;
}

/* An empty file that nobody can write, for a host that has no /dev/null. */
static int empty_file(struct init *init)
{
	int file, tree, place = workshop_place(init), workshop = place < 0 ? -1 : make_workshop(init, place);

	if (workshop < 0)
		return -1;
	file = openat(workshop, "null", O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	tree = file < 0 || fchmod(file, 0444) != 0 ?
		       -1 :
		       sys_open_tree(workshop, "null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (file >= 0)
		close(file);
	close(workshop);
	if (leave_workshop(init, place) != 0 || tree < 0)
		return -1;
	close(place);
	return set_attributes(init, tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
			      0, 0, "an empty file") == 0 ?
		       tree :
		       -1;
}

/* The host's /dev/null, and a look that it is it (CVE-2025-31133). */
static int null_device(struct init *init)
{
	struct stat st;
	int tree = sys_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree >= 0 && fstat(tree, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return tree;
	if (tree >= 0)
		close(tree);
	return empty_file(init);
}

int step_mask(struct init *init, const struct step *step)
{
	const char *path = step->args[0].s;
	int tree, target = open_to_hide(init, path);
	struct stat st;

	if (target < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (target < 0 || fstat(target, &st) != 0)
		return step_failed(init, "openat2", path);
	tree = S_ISDIR(st.st_mode) ? empty_directory(init) : null_device(init);
	if (tree < 0)
		return step_failed(init, "open_tree", S_ISDIR(st.st_mode) ? "an empty directory" : "/dev/null");
	if (attach_inside(init, tree, target, path) != 0)
		return -1;
	if (tree != init->empty)
		close(tree);
	close(target);
	return 0;
}

int step_make_readonly(struct init *init, const struct step *step)
{
	const char *path = step->args[0].s;
	int tree, target = open_to_hide(init, path);

	if (target < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (target < 0)
		return step_failed(init, "openat2", path);
	/* The root is a mount of our own already. */
	if (is_root(init, target)) {
		close(target);
		return set_attributes(init, init->root, MOUNT_ATTR_RDONLY, 0, 0, path);
	}
	tree = sys_open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree < 0)
		return step_failed(init, "open_tree", path);
	if (set_attributes(init, tree, MOUNT_ATTR_RDONLY, 0, 0, path) != 0 || attach(init, tree, target, path) != 0)
		return -1;
	close(tree);
	close(target);
	return 0;
}
