/* The root filesystem becomes the root. */
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int step_pivot_root(struct init *init, const struct step *step)
{
	(void)step;
	if (fchdir(init->root) != 0)
		return step_failed(init, "fchdir", init->root_path);
	/* Old and new root in one place; the umount takes the upper one, the old: pivot_root(2), "pivot_root(".", ".")". */
	if (sys_pivot_root(".", ".") != 0)
		return step_failed(init, "pivot_root", init->root_path);
	if (sys_umount2(".", MNT_DETACH) != 0)
		return step_failed(init, "umount2", "the old root");
	if (chdir("/") != 0)
		return step_failed(init, "chdir", "/");
	return 0;
}

int step_change_root(struct init *init, const struct step *step)
{
	(void)step;
	if (fchdir(init->root) != 0 || chroot(".") != 0 || chdir("/") != 0)
		return step_failed(init, "chroot", init->root_path);
	return 0;
}

/* In mountinfo blanks, newlines and backslashes of a path are written in octal, proc_pid_mountinfo(5). */
static void unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Without pivot_root the host's mounts stay below us: if the kernel sees a whole /proc or /sys among them, whoever can mount
 * gets another one, without masks (runc's advisory on --no-pivot). Take each away, or cover it where it can't be. */
static int hide_host_mount(struct init *init, char *line, const char *root)
{
	char *fields[5], *type = strstr(line, " - ");

	if (type == NULL || (strncmp(type + 3, "proc ", 5) != 0 && strncmp(type + 3, "sysfs ", 6) != 0))
		return 0;
	for (int i = 0; i < 5; i++)
		if ((fields[i] = strsep(&line, " ")) == NULL)
			return 0;
	const char *path = fields[4];
	unescape(fields[4]);
	if (strcmp(fields[3], "/") != 0 || is_below(path, root) || sys_umount2(path, MNT_DETACH) == 0)
		return 0;
	/* In a user namespace the host's mounts are locked: EINVAL, mount_namespaces(7). */
	if ((errno != EINVAL && errno != EPERM) || sys_mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0,mode=0") != 0)
		return errno == ENOENT ? 0 : step_failed(init, "umount2", path);
	return 0;
}

/* By the host's procfs, which its umount here doesn't take from us. */
static int hide_host_mounts(struct init *init)
{
	char name[sizeof("self/fd/") + 10], root[PATH_MAX], *line = NULL;
	int fd = open_own_file(init, "self/mountinfo", O_RDONLY), result = 0;
	FILE *mounts = fd >= 0 ? fdopen(fd, "r") : NULL;
	ssize_t length;
	size_t size = 0;

	if (mounts == NULL)
		return step_failed(init, "open", "/proc/self/mountinfo");
	/* Not as it was written in the config: there may be symlinks on the way. */
	snprintf(name, sizeof(name), "self/fd/%d", init->root);
	length = readlinkat(init->host_proc, name, root, sizeof(root) - 1);
	if (length < 0)
		result = step_failed(init, "readlinkat", init->root_path);
	else
		root[length] = '\0';
	while (result == 0 && getline(&line, &size, mounts) > 0)
		result = hide_host_mount(init, line, root);
	free(line);
	fclose(mounts);
	return result;
}

int step_move_root(struct init *init, const struct step *step)
{
	(void)step;
	if (hide_host_mounts(init) != 0)
		return -1;
	if (fchdir(init->root) != 0)
		return step_failed(init, "fchdir", init->root_path);
	if (sys_move_mount(init->root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
		return step_failed(init, "move_mount", init->root_path);
	if (chroot(".") != 0)
		return step_failed(init, "chroot", init->root_path);
	if (chdir("/") != 0)
		return step_failed(init, "chdir", "/");
	return 0;
}
