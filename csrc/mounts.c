/* Mounts, by the mount API of Linux 5.2 and later: a filesystem or a tree is made ready while nobody can see it, with all
 * its attributes, and then attached to a target that was opened before. There is no moment at which a mount that is to
 * be read-only can be written, and no path is looked up twice. (What takes mount(2) is made in a place of our own first.) */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int step_set_propagation(struct init *init, const struct step *step)
{
	if (sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, step->args[0].l) != 0)
		return step_failed(init, "mount_setattr", "/");
	return 0;
}

int set_propagation(struct init *init, int tree, uint64_t propagation, const char *subject)
{
	unsigned int recursive = propagation & PROPAGATION_RECURSIVE ? AT_RECURSIVE : 0;

	if (propagation == 0)
		return 0;
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, 0, 0, propagation & ~PROPAGATION_RECURSIVE) != 0)
		return step_failed(init, "mount_setattr", subject);
	return 0;
}

/* The container's user may not be able to go there later: the way leads through directories of the host's. A clone of the
 * mount namespace takes the working directory along, as a place in the new one. */
int step_go_to_root(struct init *init, const struct step *step)
{
	if (chdir(step->args[0].s) != 0)
		return step_failed(init, "open", step->args[0].s);
	return 0;
}

enum { ROOT_IS_HERE = 1, ROOT_IS_PRIVATE = 2 };

int step_open_root(struct init *init, const struct step *step)
{
	int directory;

	init->root_path = step->args[0].s;
	init->root_shared = (step->args[1].u & ROOT_IS_PRIVATE) || (init->joined & CLONE_NEWNS);
	directory = open(step->args[1].u & ROOT_IS_HERE ? "." : init->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return step_failed(init, "open", init->root_path);
	init->root = sys_open_tree(directory, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (init->root < 0)
		return step_failed(init, "open_tree", init->root_path);
	/* In the host's tree a mount below it would appear at its peer's place, too. */
	if ((step->args[1].u & ROOT_IS_PRIVATE) && set_propagation(init, init->root, MS_PRIVATE | MS_REC, "/") != 0)
		return -1;
	if (attach(init, init->root, directory, init->root_path) != 0)
		return -1;
	close(directory);
	return 0;
}

int set_attributes(struct init *init, int tree, uint64_t set, uint64_t clear, unsigned int recursive,
		   const char *subject)
{
	if ((set | clear) == 0)
		return 0;
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, set, clear, 0) != 0)
		return step_failed(init, "mount_setattr", subject);
	return 0;
}

/* The kernel says in words what it didn't like; fsopen(2). The first letter is the severity. */
int filesystem_failed(struct init *init, int fs, const char *call, const char *subject)
{
	char words[512];
	int error = errno;
	ssize_t length = read(fs, words, sizeof(words) - 1);

	errno = error;
	if (length > 2 && words[0] == 'e') {
		words[length] = '\0';
		words[strcspn(words, "\n")] = '\0';
		return step_failed(init, call, words + 2);
	}
	return step_failed(init, call, subject);
}

/* SELinux's options (context, fscontext, ...) are quoted for their commas, and only mount(2) takes the quotes away. */
static bool unquote(const char *key, const char *value, char text[256])
{
	size_t name = strlen(key), length = strlen(value);

	if (name < 7 || strcmp(key + name - 7, "context") != 0 || length < 2 || length > 257 || value[0] != '"' ||
	    value[length - 1] != '"')
		return false;
	memcpy(text, value + 1, length - 2);
	text[length - 2] = '\0';
	return true;
}

int set_filesystem_option(struct init *init, int fs, const char *option)
{
	const char *equals = strchr(option, '=');
	char key[256], text[256];
	int result;

	if (equals == NULL) {
		result = sys_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	} else if ((size_t)(equals - option) < sizeof(key)) {
		memcpy(key, option, (size_t)(equals - option));
		key[equals - option] = '\0';
		result = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, unquote(key, equals + 1, text) ? text : equals + 1,
				      0);
	} else {
		errno = EINVAL;
		result = -1;
	}
	return result == 0 ? 0 : filesystem_failed(init, fs, "fsconfig", option);
}

int set_options(struct init *init, int fs, const struct list *options)
{
	const char *cursor = options->data;

	for (uint32_t i = 0; i < options->count; i++)
		if (set_filesystem_option(init, fs, list_next(&cursor)) != 0)
			return -1;
	return 0;
}

/* Make the filesystem of a mount step: a detached mount, or -1. mode: an option that the others may overrule, or "". */
static int make_by_fsconfig(struct init *init, const struct step *step, const char *mode, enum option_way way)
{
	const char *type = step->args[0].s, *source = step->args[1].s;
	int tree, fs = sys_fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0)
		return step_failed(init, "fsopen", type);
	if (*source && sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) != 0)
		return filesystem_failed(init, fs, "fsconfig", source);
	if (*mode && set_filesystem_option(init, fs, mode) != 0)
		return -1;
	if ((way == BY_LAYERS ? set_by_layers : set_options)(init, fs, &step->args[6].v) != 0)
		return -1;
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return filesystem_failed(init, fs, "fsconfig", type);
	/* What is copied up must be written first. */
	tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, step->args[5].u & MOUNT_COPY_UP ? 0 : (unsigned int)step->args[3].l);
	if (tree < 0)
		return filesystem_failed(init, fs, "fsmount", type);
	close(fs);
	return tree;
}

/* A new sysfs takes a network namespace that is ours: else the host's is all there is, as with crun. Read-only with all below
 * it: its cgroups may be the caller's (CVE-2023-25809). */
static int host_sysfs(struct init *init, const struct step *step)
{
	const uint64_t protections = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	uint64_t attributes = MOUNT_ATTR_RDONLY | (step->args[3].l & protections);
	int tree = sys_open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (tree < 0)
		return step_failed(init, "open_tree", "/sys");
	if (set_propagation(init, tree, MS_PRIVATE | MS_REC, "/sys") != 0 ||
	    set_attributes(init, tree, attributes, 0, AT_RECURSIVE, "/sys") != 0)
		return -1;
	if (!(step->args[3].l & MOUNT_ATTR_RDONLY))
		warn(init, step, "sysfs", step->args[2].s, 0);
	return tree;
}

static int make_filesystem(struct init *init, const struct step *step, const char *mode)
{
	const char *type = step->args[0].s;
	enum option_way way = option_way(type, &step->args[6].v);
	int tree = way == BY_MOUNT ? make_by_mount(init, step, mode) : make_by_fsconfig(init, step, mode, way);

	if (tree < 0 && init->error == EPERM && strcmp(type, "sysfs") == 0 && init->root_path)
		return host_sysfs(init, step);
	return tree;
}

/* What the config says of the new root stays; the rest is the directory's. */
static int copy_to(struct init *init, const struct step *step, int tree, int target)
{
	uint32_t flags = step->args[5].u;
	struct stat there, root;

	if (fstat(target, &there) != 0 || fstat(tree, &root) != 0)
		return step_failed(init, "fstat", step->args[2].s);
	if (!(flags & MOUNT_INHERIT_MODE))
		there.st_mode = root.st_mode;
	if (!(flags & MOUNT_INHERIT_UID))
		there.st_uid = root.st_uid;
	if (!(flags & MOUNT_INHERIT_GID))
		there.st_gid = root.st_gid;
	return copy_up(target, tree, &there) == 0 ? 0 : step_failed(init, "copy", step->args[2].s);
}

/* What comes between the making of a filesystem and its attaching. */
static int complete(struct init *init, const struct step *step, int tree, int target, bool missing)
{
	uint32_t flags = step->args[5].u;

	if ((flags & MOUNT_IDMAP) && idmap(init, step, tree, 0) != 0)
		return -1;
	if (!(flags & MOUNT_COPY_UP))
		return 0;
	if (!missing && copy_to(init, step, tree, target) != 0)
		return -1;
	return set_attributes(init, tree, step->args[3].l, 0, 0, step->args[2].s);
}

/* The permissions of a directory that was there go over to what covers it; one that we made has none of its own. */
static int mode_of(struct init *init, int target, char mode[sizeof("mode=07777")])
{
	struct stat st;

	if (fstat(target, &st) != 0)
		return step_failed(init, "fstat", "the target");
	snprintf(mode, sizeof("mode=07777"), "mode=%o", st.st_mode & 07777);
	return 0;
}

int step_mount(struct init *init, const struct step *step)
{
	const char *path = step->args[2].s;
	char mode[sizeof("mode=07777")] = "";
	bool missing;
	int tree, target = open_mount_target(init, path, step->args[5].u, true, &missing);

	if (target < 0)
		return -1;
	if ((step->args[5].u & MOUNT_INHERIT_MODE) && !missing && mode_of(init, target, mode) != 0)
		return -1;
	tree = make_filesystem(init, step, mode);
	if (tree < 0 || complete(init, step, tree, target, missing) != 0 ||
	    attach_mount(init, tree, target, step->args[5].u, path) != 0)
		return -1;
	if (set_propagation(init, tree, step->args[4].l, path) != 0)
		return -1;
	close(tree);
	close(target);
	return 0;
}

int step_root_attributes(struct init *init, const struct step *step)
{
	if (set_attributes(init, init->root, step->args[0].l, 0, 0, "/") != 0)
		return -1;
	return set_propagation(init, init->root, step->args[1].l, "/");
}

/* By its parent, which is looked up as the container itself would, and its name, which must be no symlink. */
int step_unmount(struct init *init, const struct step *step)
{
	const char *path = step->args[0].s, *name = strrchr(path, '/') + 1;
	char parent[PATH_MAX];
	int fd;

	if ((size_t)(name - path) >= sizeof(parent)) {
		errno = ENAMETOOLONG;
		return step_failed(init, "openat2", path);
	}
	memcpy(parent, path, (size_t)(name - path));
	parent[name - path] = '\0';
	fd = open_in_root(init, parent, O_PATH | O_DIRECTORY, 0);
	if (fd < 0 || fchdir(fd) != 0)
		return step_failed(init, "openat2", path);
	if (is_in_disguise(fd, path)) {
		errno = EPERM;
		return step_failed(init, "umount2 proc", path);
	}
	close(fd);
	if (sys_umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		return step_failed(init, "umount2", path);
	return 0;
}
