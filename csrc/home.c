/* HOME of a program whose environment has none. */
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* More than any line of passwd(5), and than any such file, should have. */
enum { LONGEST_LINE = 64 << 10, LARGEST_FILE = 16 << 20 };

static int open_file(int root, uint64_t flags, struct stat *st)
{
	int fd = sys_openat2(root, "etc/passwd", flags | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

	/* Files of procfs say that they are empty. */
	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode) || st->st_size == 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The file is the image's: it may be anything, and lead anywhere in the image. Opening a device does something, and a FIFO would
 * wait for its writer, so it is looked at before. */
static FILE *open_passwd(void)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), place = -1, fd = -1;
	FILE *passwd = NULL;
	struct stat st;

	if (root >= 0)
		place = open_file(root, O_PATH, &st);
	if (place >= 0)
		fd = open_file(root, O_RDONLY | O_NONBLOCK | O_NOCTTY, &st);
	if (fd >= 0 && (passwd = fdopen(fd, "r")) == NULL)
		close(fd);
	if (place >= 0)
		close(place);
	if (root >= 0)
		close(root);
	return passwd;
}

/* The field of that number (from 0), without what follows it; null if there are fewer. */
static char *cut_field(char *line, int number)
{
	char *end;

	for (; number > 0; number--) {
		line = strchr(line, ':');
		if (line == NULL)
			return NULL;
		line++;
	}
	end = strpbrk(line, ":\n");
	if (end != NULL)
		*end = '\0';
	return line;
}

/* passwd(5): name, password, uid, gid, comment, home, shell. The last first, since cutting ends the line there. */
static const char *home_of(char *line, const char *uid)
{
	char *home = cut_field(line, 5), *owner = cut_field(line, 2);

	return home != NULL && *home && owner != NULL && strcmp(owner, uid) == 0 ? home : NULL;
}

static const char *look_up(FILE *passwd, const char *uid, char *line)
{
	const char *home = NULL;
	size_t left = LARGEST_FILE;

	while (home == NULL && fgets(line, LONGEST_LINE, passwd) != NULL) {
		size_t length = strlen(line);

		if (length == 0 || length > left)
			break;
		left -= length;
		home = home_of(line, uid);
	}
	return home;
}

int step_find_home(struct init *init, const struct step *step)
{
	FILE *passwd = open_passwd();
	char *line = malloc(LONGEST_LINE), uid[11];
	const char *home = NULL;

	snprintf(uid, sizeof(uid), "%u", step->args[0].u);
	if (passwd != NULL && line != NULL)
		home = look_up(passwd, uid, line);
	if (asprintf(&init->home, "HOME=%s", home ? home : "/") < 0)
		init->home = NULL;
	if (passwd != NULL)
		fclose(passwd);
	free(line);
	return init->home != NULL ? 0 : step_failed(init, "malloc", "HOME");
}
