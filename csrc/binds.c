/* Mounts of what is there already: binds, and changes of mounts. */
#include "mounts.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The host side answers with a descriptor: a tree that we may not reach or map from in here, or a user namespace. */
static int fetch(struct init *init, const struct step *step)
{
	struct message message = { MESSAGE_FETCH, step->number, 0, 0 };

	if (send_message(init->conversation, &message, init, step->origin) != 0)
		_exit(125);
	return receive_descriptor(init->conversation);
}

int idmap(struct init *init, const struct step *step, int tree, unsigned int recursive)
{
	int user_namespace = fetch(init, step), result;

	if (user_namespace < 0)
		return step_failed(init, "recvmsg", "the user namespace");
	result = sys_mount_idmap(tree, recursive, user_namespace);
	close(user_namespace);
	return result == 0 ? 0 : step_failed(init, "mount_setattr idmap", "");
}

static int open_source(struct init *init, const struct step *step)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	if (step->args[7].u & MOUNT_FROM_HOST)
		return fetch(init, step);
	if (step->args[7].u & BIND_RECURSIVE)
		flags |= AT_RECURSIVE;
	if (step->args[7].u & BIND_NO_FOLLOW)
		flags |= AT_SYMLINK_NOFOLLOW;
	return sys_open_tree(AT_FDCWD, step->args[0].s, flags);
}

int step_bind(struct init *init, const struct step *step)
{
	const char *source = step->args[0].s, *path = step->args[1].s;
	int target, tree = open_source(init, step);
	struct stat st;

	if (tree < 0 || fstat(tree, &st) != 0)
		return step_failed(init, "open_tree", source);
	/* The ones for all mounts of the tree first: what is said of this mount alone came later, or says something else. */
	if (set_attributes(init, tree, step->args[4].l, step->args[5].l, AT_RECURSIVE, path) != 0 ||
	    set_attributes(init, tree, step->args[2].l, step->args[3].l, 0, path) != 0)
		return -1;
	target = open_mount_target(init, path, step->args[7].u, S_ISDIR(st.st_mode));
	if (target < 0)
		return -1;
	if (attach_mount(init, tree, target, step->args[7].u, path) != 0 || set_propagation(init, tree, step->args[6].l, path) != 0)
		return -1;
	close(target);
	close(tree);
	return 0;
}

/* The filesystem's own options, of all mounts that show it. */
static int reconfigure(struct init *init, int target, const struct list *options, const char *path)
{
	const char *cursor = options->data;
	int fs, result = 0;

	if (options->count == 0)
		return 0;
	fs = sys_fspick(target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	if (fs < 0)
		return step_failed(init, "fspick", path);
	for (uint32_t i = 0; i < options->count && result == 0; i++)
		result = set_filesystem_option(init, fs, list_next(&cursor));
	if (result == 0 && sys_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) != 0)
		result = filesystem_failed(init, fs, "fsconfig", path);
	close(fs);
	return result;
}

int step_remount(struct init *init, const struct step *step)
{
	const char *path = step->args[0].s;
	int target = open_in_root(init, path, O_PATH, 0);

	if (target < 0)
		return step_failed(init, "openat2", path);
	if (undo_note_changing(target) != 0)
		return step_failed(init, "fstatvfs", path);
	if (reconfigure(init, target, &step->args[5].v, path) != 0 ||
	    set_attributes(init, target, step->args[3].l, step->args[4].l, AT_RECURSIVE, path) != 0 ||
	    set_attributes(init, target, step->args[1].l, step->args[2].l, 0, path) != 0)
		return -1;
	close(target);
	return 0;
}

int step_propagate(struct init *init, const struct step *step)
{
	int target = open_in_root(init, step->args[0].s, O_PATH, 0);

	if (target < 0)
		return step_failed(init, "openat2", step->args[0].s);
	if (set_propagation(init, target, step->args[1].l, step->args[0].s) != 0)
		return -1;
	close(target);
	return 0;
}
