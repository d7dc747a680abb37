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

/* A directory of the copy; all are kept until the end, for the names of links. */
struct place {
	struct place *up, *made_before;
	unsigned int depth;
	char name[];
};

/* A file with several names, and the first that was copied. */
struct link {
	struct link *next;
	dev_t device;
	ino_t inode;
	const struct place *place;
	char name[];
};

/* A directory that is being copied. What it holds is read at once: it isn't open while one below it is copied. */
struct level {
	struct level *up;
	struct place *place;
	struct stat st;
	size_t used, size, next;
	char *names; /* each with its NUL */
};

enum { BUCKETS = 1 << 14, SMALL_LIST = 4096 };

/* However deep the tree and however many its links, few descriptors are open: the two of the directory at hand, the top's, and
 * that of the link found last. */
struct copying {
	struct level *level;
	struct place *places;
	struct link **links;
	const struct place *found;
	int from, to, top, found_directory;
};

static void close_quietly(int fd)
{
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
}

static int copy_xattrs(int from, int to)
{
	static char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
	ssize_t length = flistxattr(from, names, SMALL_LIST);

	/* The kernel allocates what it is asked for, for each file. */
	if (length < 0 && errno == ERANGE)
		length = flistxattr(from, names, sizeof(names));
	for (char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
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
	int result = -1;

	if (to >= 0 && copy_bytes(from, to, st->st_size) == 0)
		result = copy_properties(from, to, st);
	close_quietly(from);
	close_quietly(to);
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

/* The directory of a link's first name. It stays open: the next link's is often the same. */
static int open_place(struct copying *copying, const struct place *place)
{
	int fd = -1, above;

	if (place == copying->level->place)
		return copying->to;
	if (place == copying->found)
		return copying->found_directory;
	fd = fcntl(copying->top, F_DUPFD_CLOEXEC, 0);
	for (unsigned int depth = 1; fd >= 0 && depth <= place->depth; depth++) {
		const struct place *part = place;

		while (part->depth > depth)
			part = part->up;
		above = fd;
		fd = openat(above, part->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close_quietly(above);
	}
	if (fd < 0)
		return -1;
	close_quietly(copying->found_directory);
	copying->found = place;
	return copying->found_directory = fd;
}

static struct link **bucket(const struct copying *copying, const struct stat *st)
{
	return &copying->links[(st->st_ino ^ st->st_ino / BUCKETS ^ st->st_dev) % BUCKETS];
}

/* Without memory for it the other names become files of their own. */
static void remember(struct copying *copying, const char *name, const struct stat *st)
{
	struct link *link = malloc(sizeof(*link) + strlen(name) + 1);

	if (link != NULL && copying->links == NULL)
		copying->links = calloc(BUCKETS, sizeof(*copying->links));
	if (link == NULL || copying->links == NULL) {
		free(link);
		return;
	}
	link->device = st->st_dev;
	link->inode = st->st_ino;
	link->place = copying->level->place;
	strcpy(link->name, name);
	link->next = *bucket(copying, st);
	*bucket(copying, st) = link;
}

static const struct link *known(const struct copying *copying, const struct stat *st)
{
	for (const struct link *link = copying->links ? *bucket(copying, st) : NULL; link; link = link->next)
		if (link->device == st->st_dev && link->inode == st->st_ino)
			return link;
	return NULL;
}

static bool add_name(struct level *level, const char *name)
{
	size_t length = strlen(name) + 1;

	if (level->used + length > level->size) {
		size_t size = 2 * level->size + length + 1024;
		char *names = realloc(level->names, size);

		if (names == NULL)
			return false;
		level->names = names;
		level->size = size;
	}
	memcpy(level->names + level->used, name, length);
	level->used += length;
	return true;
}

static int read_names(struct level *level, int from)
{
	int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
	DIR *directory = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *entry;

	if (directory == NULL) {
		close_quietly(own);
		return -1;
	}
	errno = 0;
	while ((entry = readdir(directory)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !add_name(level, entry->d_name))
			break;
	error = errno;
	closedir(directory);
	errno = error;
	return error ? -1 : 0;
}

static struct place *make_place(struct copying *copying, const char *name)
{
	struct place *place = malloc(sizeof(*place) + strlen(name) + 1);

	if (place == NULL)
		return NULL;
	place->up = copying->level ? copying->level->place : NULL;
	place->depth = place->up ? place->up->depth + 1 : 0;
	strcpy(place->name, name);
	place->made_before = copying->places;
	copying->places = place;
	return place;
}

/* Go on with what a directory holds. The descriptors are ours from here on, unless this fails. */
static int enter(struct copying *copying, int from, int to, const char *name)
{
	struct level *level = calloc(1, sizeof(*level));

	if (level == NULL)
		return -1;
	level->place = make_place(copying, name);
	if (level->place == NULL || fstat(from, &level->st) != 0 || read_names(level, from) != 0) {
		free(level->names);
		free(level);
		return -1;
	}
	level->up = copying->level;
	copying->level = level;
	close_quietly(copying->from);
	close_quietly(copying->to);
	copying->from = from;
	copying->to = to;
	return 0;
}

static int enter_subdirectory(struct copying *copying, const char *name)
{
	int from = openat(copying->from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), to = -1;

	if (from >= 0 && mkdirat(copying->to, name, 0700) == 0)
		to = openat(copying->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to >= 0 && enter(copying, from, to, name) == 0)
		return 0;
	close_quietly(from);
	close_quietly(to);
	return -1;
}

/* "..", if it is still the directory that we came from: in a root filesystem that two containers share it may have been moved
 * elsewhere, and lead out of there. */
static int open_above(int directory, const struct stat *expected)
{
	int above = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (above >= 0 && (fstat(above, &st) != 0 || st.st_dev != expected->st_dev || st.st_ino != expected->st_ino)) {
		close(above);
		errno = ESTALE;
		return -1;
	}
	return above;
}

/* The directory at hand is copied but for what belongs to itself. */
static int leave(struct copying *copying)
{
	struct level *level = copying->level, *up = level->up;
	/* Before it has its mode, which may not let us. */
	int from = up ? open_above(copying->from, &up->st) : -1;
	int to = up ? openat(copying->to, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int result = up && (from < 0 || to < 0) ? -1 : copy_properties(copying->from, copying->to, &level->st);

	close_quietly(copying->from);
	close_quietly(copying->to);
	copying->from = from;
	copying->to = to;
	copying->level = up;
	free(level->names);
	free(level);
	return result;
}

static int copy_entry(struct copying *copying, const char *name)
{
	const struct link *first;
	struct stat st;

	if (fstatat(copying->from, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return enter_subdirectory(copying, name);
	if (st.st_nlink > 1 && (first = known(copying, &st)) != NULL) {
		int directory = open_place(copying, first->place);

		return directory < 0 ? -1 : linkat(directory, first->name, copying->to, name, 0);
	}
	if ((S_ISREG(st.st_mode) ? copy_regular : copy_special)(copying->from, copying->to, name, &st) != 0)
		return -1;
	if (st.st_nlink > 1)
		remember(copying, name, &st);
	return 0;
}

static int copy_all(struct copying *copying)
{
	int result = 0;

	while (result == 0 && copying->level != NULL) {
		struct level *level = copying->level;
		const char *name = level->names + level->next;

		if (level->next == level->used) {
			result = leave(copying);
			continue;
		}
		level->next += strlen(name) + 1;
		result = copy_entry(copying, name);
	}
	return result;
}

static void forget(struct copying *copying)
{
	for (int i = 0; copying->links && i < BUCKETS; i++)
		while (copying->links[i]) {
			struct link *link = copying->links[i];

			copying->links[i] = link->next;
			free(link);
		}
	free(copying->links);
	while (copying->places) {
		struct place *place = copying->places;

		copying->places = place->made_before;
		free(place);
	}
	while (copying->level) {
		struct level *level = copying->level;

		copying->level = level->up;
		free(level->names);
		free(level);
	}
	close_quietly(copying->from);
	close_quietly(copying->to);
	close_quietly(copying->top);
	close_quietly(copying->found_directory);
}

/* Both are descriptors of places (O_PATH); opened again they can be read. */
int copy_up(int from, int to, const struct stat *root)
{
	struct copying copying = { .from = -1, .to = -1, .found_directory = -1 };
	int source = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int target = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = -1, error;

	copying.top = fcntl(to, F_DUPFD_CLOEXEC, 0);
	if (source >= 0 && target >= 0 && copying.top >= 0 && enter(&copying, source, target, "") == 0) {
		copying.level->st.st_mode = root->st_mode;
		copying.level->st.st_uid = root->st_uid;
		copying.level->st.st_gid = root->st_gid;
		result = copy_all(&copying);
	} else {
		close_quietly(source);
		close_quietly(target);
	}
	error = errno;
	forget(&copying);
	errno = error;
	return result;
}
