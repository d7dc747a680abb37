/* Where a mount goes. */
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { PROC_ROOT_INO = 1 }; /* linux/proc_ns.h */

/* /proc and /sys must be ordinary directories: a symlink there turns the mount, and what is written through it later,
 * elsewhere (CVE-2019-19921, CVE-2023-28642, CVE-2025-54867). */
int open_mount_target(struct init *init, const char *path, uint32_t flags, bool is_directory)
{
	int target = open_or_make(init, path, 0755, is_directory);

	if (target >= 0 && (flags & MOUNT_ORDINARY_DIRECTORY)) {
		close(target);
		target = open_in_root(init, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
	}
	return target < 0 ? step_failed(init, "openat2", path) : target;
}

int attach(struct init *init, int tree, int target, const char *subject)
{
	if (sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
		return step_failed(init, "move_mount", subject);
	return 0;
}

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static bool is_whole_procfs(int tree)
{
	struct stat st;

	return is_procfs(tree) && fstat(tree, &st) == 0 && st.st_ino == PROC_ROOT_INO;
}

/* Programs and security modules trust what they find in /proc. The image's symlinks, and "..", lead there too: so it is not
 * the path that is looked at but what it led to (CVE-2019-16884, CVE-2019-19921). */
static int check_target(struct init *init, int tree, int target, uint32_t flags, const char *path)
{
	struct stat there, proc;
	int directory;
	bool found;

	if (flags & MOUNT_IN_PROC)
		return 0;
	directory = open_in_root(init, "/proc", O_PATH | O_NOFOLLOW, 0);
	if (directory < 0)
		return 0;
	found = fstat(directory, &proc) == 0 && fstat(target, &there) == 0;
	close(directory);
	if (!found)
		return step_failed(init, "fstat", path);
	if (there.st_dev != proc.st_dev)
		return 0;
	if (there.st_ino == proc.st_ino ? is_whole_procfs(tree) : !is_procfs(target))
		return 0;
	errno = EPERM;
	return step_failed(init, "move_mount proc", path);
}

int attach_mount(struct init *init, int tree, int target, uint32_t flags, const char *path)
{
	return check_target(init, tree, target, flags, path) != 0 ? -1 : attach(init, tree, target, path);
}
