/* tmpcopyup: what a directory holds, copied into the tmpfs that is going to cover it. By descriptors only, and never through a
 * symlink: the directory is the image's. */
#include "mounts.h"
#include "syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { DEEPEST = 256, XATTR_LIST = 4096 };

/* A file with several names, and the first that was copied. */
struct link {
	dev_t device;
	ino_t inode;
	int directory;
	struct link *next;
	char name[NAME_MAX + 1];
};

struct copying {
	struct link *links;
	int depth;
};

static int copy_directory(struct copying *copying, int from, int to);

static int copy_xattrs(int from, int to)
{
	char names[XATTR_LIST];
	ssize_t length = flistxattr(from, names, sizeof(names));

	for (char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
		char value[XATTR_SIZE_MAX];
		ssize_t size = fgetxattr(from, name, value, sizeof(value));

		/* What this filesystem, or this user, can't have there isn't worth a failure. */
		if (size >= 0 && fsetxattr(to, name, value, (size_t)size, 0) != 0 && errno == ENOSPC)
			return -1;
	}
	return 0;
}

/* Owner, mode, attributes, times: in this order, since each may change what the one before has set. */
static int copy_properties(int from, int to, const struct stat *st)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	if (fchown(to, st->st_uid, st->st_gid) != 0 || fchmod(to, st->st_mode & 07777) != 0)
		return -1;
	return copy_xattrs(from, to) != 0 ? -1 : futimens(to, times);
}

static int copy_bytes(int from, int to, off_t left)
{
	while (left > 0) {
		ssize_t sent = sendfile(to, from, NULL, (size_t)left);

		if (sent < 0)
			return -1;
		if (sent == 0)
			break;
		left -= sent;
	}
	return 0;
}

static int copy_regular(int from_directory, int to_directory, const char *name, const struct stat *st)
{
	int from = openat(from_directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int to = from < 0 ? -1 : openat(to_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int result = -1, error;

	if (to >= 0 && copy_bytes(from, to, st->st_size) == 0)
		result = copy_properties(from, to, st);
	error = errno;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	errno = error;
	return result;
}

static int copy_symlink(int from_directory, int to_directory, const char *name)
{
	char text[PATH_MAX];
	ssize_t length = readlinkat(from_directory, name, text, sizeof(text) - 1);

	if (length < 0)
		return -1;
	text[length] = '\0';
	return symlinkat(text, to_directory, name);
}

/* Symlinks, devices, FIFOs and sockets: nothing of theirs is opened. */
static int copy_special(int from_directory, int to_directory, const char *name, const struct stat *st)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };
	int result = S_ISLNK(st->st_mode) ? copy_symlink(from_directory, to_directory, name) :
					    mknodat(to_directory, name, st->st_mode, st->st_rdev);

	if (result != 0)
		/* A device can't be made in a user namespace, nor could it be used there. */
		return errno == EPERM && !S_ISLNK(st->st_mode) ? 0 : -1;
	if (fchownat(to_directory, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	return utimensat(to_directory, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_subdirectory(struct copying *copying, int from_directory, int to_directory, const char *name,
			     const struct stat *st)
{
	int from = openat(from_directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), to = -1;
	int result = -1, error;

	if (from >= 0 && mkdirat(to_directory, name, 0700) == 0)
		to = openat(to_directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to >= 0 && copy_directory(copying, from, to) == 0)
		result = copy_properties(from, to, st);
	error = errno;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	errno = error;
	return result;
}

/* The directory of the first name stays open for the second. */
static void remember(struct copying *copying, int directory, const char *name, const struct stat *st)
{
	struct link *link = malloc(sizeof(*link));
	int own = fcntl(directory, F_DUPFD_CLOEXEC, 0);

	/* Without room for it the other names become files of their own. */
	if (link == NULL || own < 0) {
		free(link);
		if (own >= 0)
			close(own);
		return;
	}
	link->device = st->st_dev;
	link->inode = st->st_ino;
	link->next = copying->links;
	strcpy(link->name, name);
	link->directory = own;
	copying->links = link;
}

static const struct link *known(const struct copying *copying, const struct stat *st)
{
	for (const struct link *link = copying->links; link; link = link->next)
		if (link->device == st->st_dev && link->inode == st->st_ino)
			return link;
	return NULL;
}

static int copy_entry(struct copying *copying, int from, int to, const char *name)
{
	const struct link *first;
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return copy_subdirectory(copying, from, to, name, &st);
	if (st.st_nlink > 1 && (first = known(copying, &st)) != NULL)
		return linkat(first->directory, first->name, to, name, 0);
	if ((S_ISREG(st.st_mode) ? copy_regular : copy_special)(from, to, name, &st) != 0)
		return -1;
	if (st.st_nlink > 1)
		remember(copying, to, name, &st);
	return 0;
}

static int copy_directory(struct copying *copying, int from, int to)
{
	int own = fcntl(from, F_DUPFD_CLOEXEC, 0), result = 0, error;
	DIR *directory = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *entry;

	if (directory == NULL || ++copying->depth > DEEPEST) {
		errno = directory == NULL ? errno : ELOOP;
		return -1;
	}
	errno = 0;
	while (result == 0 && (entry = readdir(directory)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = copy_entry(copying, from, to, entry->d_name);
	error = errno;
	closedir(directory);
	copying->depth--;
	errno = error;
	return result;
}

static void forget(struct copying *copying)
{
	while (copying->links) {
		struct link *link = copying->links;

		copying->links = link->next;
		close(link->directory);
		free(link);
	}
}

/* Both are descriptors of places (O_PATH); opened again they can be read. */
int copy_up(int from, int to)
{
	struct copying copying = { 0 };
	int source = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int target = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int result = -1, error;

	if (source >= 0 && target >= 0 && fstat(source, &st) == 0 && copy_directory(&copying, source, target) == 0)
		result = copy_properties(source, target, &st);
	error = errno;
	forget(&copying);
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	errno = error;
	return result;
}
