/* Paths inside the root filesystem.
 *
 * A path is resolved by openat2(2) as the container itself would resolve it, so that a symlink can't lead out
 * (CVE-2019-18837, CVE-2021-30465), and what was opened is what is used. */
#include "init.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SYMLINKS = 40 };

static int open_from(int directory, const char *path, uint64_t flags, uint64_t resolve)
{
	int fd, attempts = 0;

	/* EAGAIN: something was renamed while a ".." was resolved, openat2(2). */
	do
		fd = sys_openat2(directory, path, flags | O_CLOEXEC, resolve | RESOLVE_NO_MAGICLINKS);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR) && attempts++ < 64);
	return fd;
}

int open_in_root(const struct init *init, const char *path, uint64_t flags, uint64_t resolve)
{
	return open_from(init->root, path, flags, resolve | RESOLVE_IN_ROOT);
}

int open_beneath(int directory, const char *path, uint64_t flags)
{
	return open_from(directory, path, flags, RESOLVE_BENEATH);
}

/* A path being walked: `done` has no symlink in it, `left` is yet to come. */
struct walk {
	char done[PATH_MAX];
	char left[PATH_MAX];
	int symlinks;
	bool made; /* the name that was walked last */
};

/* Move the next name from `left` to `name`: 1, 0 if none is left, -1 and errno if no file can be called so. */
static int next_name(struct walk *walk, char name[NAME_MAX + 1])
{
	char *start = walk->left + strspn(walk->left, "/");
	size_t length = strcspn(start, "/");

	if (length == 0)
		return 0;
	if (length > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name, start, length);
	name[length] = '\0';
	memmove(walk->left, start + length, strlen(start + length) + 1);
	return 1;
}

static void go_up(struct walk *walk)
{
	char *slash = strrchr(walk->done, '/');

	*(slash ? slash : walk->done) = '\0';
}

/* done + "/" + name into `path`; false if it is too long. */
static bool join_name(const struct walk *walk, const char *name, char path[PATH_MAX])
{
	size_t length = strlen(walk->done);

	if (length + 1 + strlen(name) + 1 > PATH_MAX)
		return false;
	memcpy(path, walk->done, length);
	path[length] = '/';
	strcpy(path + length + 1, name);
	return true;
}

static int follow(struct walk *walk, int symlink)
{
	char text[PATH_MAX];
	ssize_t length = readlinkat(symlink, "", text, sizeof(text) - 1);
	size_t rest = strlen(walk->left);

	if (length < 0)
		return -1;
	if (++walk->symlinks > MAX_SYMLINKS) {
		errno = ELOOP;
		return -1;
	}
	if ((size_t)length + 1 + rest + 1 > sizeof(walk->left)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (text[0] == '/')
		walk->done[0] = '\0';
	memmove(walk->left + length + 1, walk->left, rest + 1);
	memcpy(walk->left, text, (size_t)length);
	walk->left[length] = '/';
	return 0;
}

static int open_done(const struct init *init, const struct walk *walk)
{
	return open_in_root(init, walk->done[0] ? walk->done : "/", O_PATH, 0);
}

static int make_name(const struct init *init, struct walk *walk, const char *name, mode_t mode)
{
	int result, parent = open_done(init, walk);

	if (parent < 0)
		return -1;
	result = S_ISDIR(mode) ? mkdirat(parent, name, mode & 07777) : mknodat(parent, name, mode, 0);
	walk->made = result == 0;
	if (result == 0 && undo_note_made(parent, name) != 0) {
		unlinkat(parent, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
		close(parent);
		errno = EMFILE;
		return -1;
	}
	/* Somebody else made it: the walk looks again at what is there (runc issue 4543). */
	if (result != 0 && errno == EEXIST)
		result = 0;
	close(parent);
	return result;
}

/* Take one name: step into it, follow it, or make it. */
static int walk_name(const struct init *init, struct walk *walk, const char *name, mode_t missing)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, result = 0;

	walk->made = false;
	if (!join_name(walk, name, path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open_in_root(init, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 && errno == ENOENT) {
		if (make_name(init, walk, name, missing) != 0)
			return -1;
		fd = open_in_root(init, path, O_PATH | O_NOFOLLOW, 0);
	}
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		result = -1;
	else if (S_ISLNK(st.st_mode))
		result = follow(walk, fd);
	else
		strcpy(walk->done, path);
	close(fd);
	return result;
}

static bool is_last(const struct walk *walk)
{
	return walk->left[strspn(walk->left, "/")] == '\0';
}

int find_or_make(const struct init *init, const char *path, mode_t directory_mode, bool is_directory, bool *made)
{
	struct walk walk = { 0 };
	char name[NAME_MAX + 1];
	int left, fd = open_in_root(init, path, O_PATH, 0);

	*made = false;
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (strlen(path) >= sizeof(walk.left)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(walk.left, path);
	while ((left = next_name(&walk, name)) > 0) {
		mode_t missing = is_directory || !is_last(&walk) ? S_IFDIR | directory_mode : S_IFREG | 0644;

		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0)
			go_up(&walk);
		else if (walk_name(init, &walk, name, missing) != 0)
			return -1;
	}
	if (left < 0)
		return -1;
	*made = walk.made;
	return open_done(init, &walk);
}

int open_or_make(const struct init *init, const char *path, mode_t directory_mode, bool is_directory)
{
	bool made;

	return find_or_make(init, path, directory_mode, is_directory, &made);
}

int step_make_directory(struct init *init, const struct step *step)
{
	int fd = open_or_make(init, step->args[0].s, step->args[1].u, true);

	if (fd < 0)
		return step_failed(init, "mkdirat", step->args[0].s);
	close(fd);
	return 0;
}

int open_parent(struct init *init, const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	*name = slash ? slash + 1 : path;
	if (**name == '\0' || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0 || strlen(path) >= sizeof(parent)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(parent, path, (size_t)(*name - path));
	parent[*name - path] = '\0';
	return open_or_make(init, parent[0] ? parent : "/", 0755, true);
}
