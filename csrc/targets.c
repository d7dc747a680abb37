/* Where a mount goes. */
#include "mounts.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { PROC_ROOT_INO = 1 }; /* linux/proc_ns.h */

/* /proc and /sys must be ordinary directories: a symlink there turns the mount, and what is written through it later,
 * elsewhere (CVE-2019-19921, CVE-2023-28642, CVE-2025-54867). Symlinks on the way are the image's own affair. */
static int open_ordinary_directory(const struct init *init, const char *path)
{
	int fd = open_in_root(init, path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || S_ISDIR(st.st_mode))
		return fd;
	close(fd);
	errno = S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
	return -1;
}

int open_mount_target(struct init *init, const char *path, uint32_t flags, bool is_directory, bool *made)
{
	bool missing = false;
	int target = -1;

	if (flags & MOUNT_ON_SYMLINK)
		target = open_in_root(init, path, O_PATH | O_NOFOLLOW, 0);
	if (target < 0)
		target = find_or_make(init, path, 0755, is_directory, &missing);
	if (target >= 0 && (flags & MOUNT_ORDINARY_DIRECTORY)) {
		close(target);
		target = open_ordinary_directory(init, path);
	}
	if (made)
		*made = missing;
	return target < 0 ? step_failed(init, "openat2", path) : target;
}

static bool is_directory_and_file(int tree, int target)
{
	struct stat source, there;

	return fstat(tree, &source) == 0 && fstat(target, &there) == 0 &&
	       S_ISDIR(source.st_mode) != S_ISDIR(there.st_mode);
}

int attach(struct init *init, int tree, int target, const char *subject)
{
	/* Before it is: to detach what isn't attached does no harm. */
	if (undo_note_attached(tree) != 0)
		return step_failed(init, "fcntl", subject);
	if (sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
		return 0;
	/* mount(2) said ENOTDIR for this, and move_mount says EINVAL as for much else. */
	if (errno == EINVAL)
		errno = is_directory_and_file(tree, target) ? ENOTDIR : EINVAL;
	return step_failed(init, "move_mount", subject);
}

static bool is_same_place(int one, int other)
{
	struct statx a, b;

	return statx(one, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &a) == 0 &&
	       (a.stx_attributes & STATX_ATTR_MOUNT_ROOT) &&
	       statx(other, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &b) == 0 && a.stx_mnt_id == b.stx_mnt_id &&
	       a.stx_ino == b.stx_ino;
}

bool is_root(const struct init *init, int fd)
{
	return is_same_place(fd, init->root);
}

/* A path that begins at the old root would not meet the mount on it. What was kept is below the old one. */
static int take_as_root(struct init *init, int tree)
{
	int root = fcntl(tree, F_DUPFD_CLOEXEC, 0);

	if (root < 0)
		return step_failed(init, "fcntl", "/");
	close(init->root);
	init->root = root;
	for (size_t i = 0; i < sizeof(init->kept) / sizeof(*init->kept); i++) {
		if (init->kept[i] >= 0)
			close(init->kept[i]);
		init->kept[i] = -1;
	}
	return 0;
}

int attach_inside(struct init *init, int tree, int target, const char *subject)
{
	bool on_root = is_root(init, target);

	/* The processes of a container that exists have their root already. */
	if (on_root && init->root_path == NULL) {
		errno = EBUSY;
		return step_failed(init, "move_mount root", subject);
	}
	if (attach(init, tree, target, subject) != 0)
		return -1;
	return on_root ? take_as_root(init, tree) : 0;
}

static const struct {
	const char *path;
	long magic;
} places[] = { [KEPT_PROC] = { "/proc", PROC_SUPER_MAGIC }, [KEPT_SYS] = { "/sys", SYSFS_MAGIC } };
enum { PLACES = sizeof(places) / sizeof(*places) };

static bool is_filesystem(int fd, long magic)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == magic;
}

bool is_whole_procfs(int tree)
{
	struct stat st;

	return is_filesystem(tree, PROC_SUPER_MAGIC) && fstat(tree, &st) == 0 && st.st_ino == PROC_ROOT_INO;
}

bool is_in_disguise(int fd, const char *path)
{
	for (int i = 0; i < PLACES; i++) {
		size_t length = strlen(places[i].path);

		if (is_filesystem(fd, places[i].magic))
			return strncmp(path, places[i].path, length) != 0 || path[length] != '/' || strstr(path, "/..");
	}
	return false;
}

/* Of a root filesystem that others have too /proc may soon be another directory: what was mounted is what will be hidden
 * (CVE-2019-19921). */
static int keep(struct init *init, int tree, const char *path)
{
	for (int i = 0; i < PLACES; i++) {
		if (strcmp(path, places[i].path) != 0)
			continue;
		if (init->kept[i] >= 0)
			close(init->kept[i]);
		init->kept[i] = -1;
		if (!is_filesystem(tree, places[i].magic))
			continue;
		init->kept[i] = fcntl(tree, F_DUPFD_CLOEXEC, 0);
		if (init->kept[i] < 0)
			return step_failed(init, "fcntl", path);
	}
	return 0;
}

int open_to_hide(const struct init *init, const char *path)
{
	for (int i = 0; i < PLACES && strstr(path, "/..") == NULL; i++) {
		size_t length = strlen(places[i].path);
		const char *below = path + length;

		if (init->kept[i] < 0 || strncmp(path, places[i].path, length) != 0 || *below != '/')
			continue;
		below += strspn(below, "/");
		if (*below)
			return open_beneath(init->kept[i], below, O_PATH);
	}
	return open_in_root(init, path, O_PATH, 0);
}

/* The container's /proc, or the directory that it is going to be on. */
static bool find_proc(const struct init *init, struct stat *proc)
{
	int fd = init->kept[KEPT_PROC];
	bool found;

	if (fd >= 0)
		return fstat(fd, proc) == 0;
	fd = open_in_root(init, "/proc", O_PATH | O_NOFOLLOW, 0);
	found = fd >= 0 && fstat(fd, proc) == 0;
	if (fd >= 0)
		close(fd);
	return found;
}

/* Programs and security modules trust what they find in /proc. The image's symlinks, and "..", lead there too: so it is not
 * the path that is looked at but what it led to (CVE-2019-16884, CVE-2019-19921). */
static int check_target(struct init *init, int tree, int target, uint32_t flags, const char *path)
{
	struct stat there, proc;

	if ((flags & MOUNT_IN_PROC) || !find_proc(init, &proc))
		return 0;
	if (fstat(target, &there) != 0)
		return step_failed(init, "fstat", path);
	if (there.st_dev != proc.st_dev)
		return 0;
	if (there.st_ino == proc.st_ino ? is_whole_procfs(tree) : !is_filesystem(target, PROC_SUPER_MAGIC))
		return 0;
	errno = EPERM;
	return step_failed(init, "move_mount proc", path);
}

int attach_mount(struct init *init, int tree, int target, uint32_t flags, const char *path)
{
	if (check_target(init, tree, target, flags, path) != 0 || attach_inside(init, tree, target, path) != 0)
		return -1;
	return keep(init, tree, path);
}
