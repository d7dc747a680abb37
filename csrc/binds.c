/* Mounts of what is there already: binds, and changes of mounts. */
#include "mounts.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* The host side answers with a descriptor: a tree that we may not reach or map from in here, or a user namespace. */
int fetch(struct init *init, const struct step *step)
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

/* What can be locked, mount_namespaces(7): the attribute, and whether it protects from something. */
static const struct {
	uint64_t bits;
	bool protects;
} lockable[] = {
	{ MOUNT_ATTR_RDONLY, true },  { MOUNT_ATTR_NOSUID, true },	{ MOUNT_ATTR_NODEV, true },
	{ MOUNT_ATTR_NOEXEC, true },  { MOUNT_ATTR_NOSYMFOLLOW, true }, { MOUNT_ATTR_NODIRATIME, false },
	{ MOUNT_ATTR__ATIME, false },
};

/* Each attribute alone, to see which of them are locked. Those stay, unless it is a protection that can't be had. */
static int change_unlocked(struct init *init, const struct step *step, int tree, uint64_t set, uint64_t clear,
			   unsigned int recursive, const char *path)
{
	uint32_t kept = 0;

	for (size_t i = 0; i < sizeof(lockable) / sizeof(*lockable); i++) {
		uint64_t bits = lockable[i].bits;

		if (((set | clear) & bits) == 0 ||
		    sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, set & bits, clear & bits, 0) == 0)
			continue;
		if (errno != EPERM || (lockable[i].protects && (set & bits)))
			return step_failed(init, "mount_setattr", path);
		kept |= (uint32_t)bits;
	}
	if (kept)
		warn(init, step, "mount_setattr", path, kept);
	return 0;
}

/* What a mount of the host's has can't be cleared in a user namespace: as with runc and crun it stays, and the user is told. */
static int change_attributes(struct init *init, const struct step *step, int tree, const union arg attributes[4],
			     const char *path)
{
	/* The ones for all mounts of the tree first: what is said of this mount alone came later, or says something else. */
	for (int i = 2; i >= 0; i -= 2) {
		uint64_t set = attributes[i].l, clear = attributes[i + 1].l;
		unsigned int recursive = i ? AT_RECURSIVE : 0;

		if ((set | clear) == 0 || sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, set, clear, 0) == 0)
			continue;
		if (errno != EPERM)
			return step_failed(init, "mount_setattr", path);
		if (change_unlocked(init, step, tree, set, clear, recursive, path) != 0)
			return -1;
	}
	return 0;
}

static int open_source(struct init *init, const struct step *step)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	if (step->args[7].u & MOUNT_FROM_HOST)
		return fetch(init, step);
	if (step->args[7].u & BIND_RECURSIVE)
		flags |= AT_RECURSIVE;
	if (step->args[7].u & (BIND_NO_FOLLOW | BIND_COPY_SYMLINK))
		flags |= AT_SYMLINK_NOFOLLOW;
	return sys_open_tree(AT_FDCWD, step->args[0].s, flags);
}

/* copy-symlink: the destination gets the source's text. One that is there with this text will do. */
static int copy_symlink(struct init *init, int source, const char *path)
{
	char text[PATH_MAX] = "", there[PATH_MAX] = "";
	const char *name;
	int error, result, parent = open_parent(init, path, &name);

	if (parent < 0 || readlinkat(source, "", text, sizeof(text) - 1) < 0)
		return step_failed(init, "readlinkat", path);
	result = symlinkat(text, parent, name);
	if (result == 0)
		result = undo_note_made(parent, name);
	error = errno;
	if (result != 0 && error == EEXIST && readlinkat(parent, name, there, sizeof(there) - 1) >= 0 &&
	    strcmp(text, there) == 0)
		result = 0;
	if (result != 0) {
		errno = error;
		step_failed(init, "symlinkat", path);
	}
	close(parent);
	return result;
}

static int attach_tree(struct init *init, const struct step *step, int tree, bool is_directory)
{
	const char *path = step->args[1].s;
	uint32_t flags = step->args[7].u;
	int target;

	if (!(flags & BIND_HAS_ATTRIBUTES) && change_attributes(init, step, tree, step->args + 2, path) != 0)
		return -1;
	target = open_mount_target(init, path, flags, is_directory, NULL);
	if (target < 0 || attach_mount(init, tree, target, flags, path) != 0)
		return -1;
	close(target);
	return set_propagation(init, tree, step->args[6].l, path);
}

int step_bind(struct init *init, const struct step *step)
{
	int result, tree = open_source(init, step);
	struct stat st;

	if (tree < 0 || fstat(tree, &st) != 0)
		return step_failed(init, "open_tree", step->args[0].s);
	if ((step->args[7].u & BIND_COPY_SYMLINK) && S_ISLNK(st.st_mode))
		result = copy_symlink(init, tree, step->args[1].s);
	else
		result = attach_tree(init, step, tree, S_ISDIR(st.st_mode));
	close(tree);
	return result;
}

/* The filesystem's own options, of all mounts that show it. */
static int reconfigure(struct init *init, int target, const struct list *options, const char *path)
{
	int fs, result;

	if (options->count == 0)
		return 0;
	fs = sys_fspick(target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	if (fs < 0)
		return step_failed(init, "fspick", path);
	result = set_options(init, fs, options);
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
	    change_attributes(init, step, target, step->args + 1, path) != 0)
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
