/* The user's program: looked for while the container is created, executed when it is started. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nothing large on the stack: it can't grow any more if the program's is to be small. */
static char candidate[PATH_MAX], subject[2 * PATH_MAX];

static bool is_absent(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The next place of a PATH at which the program may be, into `candidate`; false after the last. */
static bool next_candidate(const char **path, const char *name)
{
	while (*path != NULL && *name) {
		size_t length = strcspn(*path, ":"), used = length ? length : 1;
		const char *directory = length ? *path : ".";

		*path = (*path)[length] ? *path + length + 1 : NULL;
		if (used + 1 + strlen(name) + 1 > sizeof(candidate))
			continue;
		memcpy(candidate, directory, used);
		candidate[used] = '/';
		strcpy(candidate + used + 1, name);
		return true;
	}
	return false;
}

/* The call tells the host side what sentence to make of it; what was looked for and where are two lines. */
static int not_found(struct init *init, int error)
{
	const char *name = init->argv[0], *call = "execve", *place = "";

	if (strchr(name, '/') == NULL) {
		call = "execve PATH";
		place = init->path;
	} else if (name[0] != '/') {
		call = "execve relative";
		place = getcwd(candidate, sizeof(candidate)) ? candidate : "?";
	}
	snprintf(subject, sizeof(subject), "%.1000s\n%.500s", name, place);
	errno = error;
	return step_failed(init, call, subject);
}

/* Whether we may execute it: 0, or errno. What else may be wrong with it execve(2) will say. */
static int look_at(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/* Engines want to know this of `create`. It isn't what counts: `start` looks again. */
static int look_for_program(struct init *init)
{
	const char *name = init->argv[0], *path = init->path;
	int error, refusal = 0;

	if (strchr(name, '/') != NULL) {
		error = look_at(name);
		return is_absent(error) || error == EACCES ? not_found(init, error) : 0;
	}
	while (next_candidate(&path, name)) {
		error = look_at(candidate);
		if (!is_absent(error) && error != EACCES)
			return 0;
		if (error == EACCES && !is_directory(candidate))
			refusal = EACCES;
	}
	return not_found(init, refusal ? refusal : ENOENT);
}

static bool add_home(struct init *init)
{
	size_t count = 0;
	char **longer;

	while (init->env[count] != NULL)
		count++;
	longer = realloc(init->env, (count + 2) * sizeof(*longer));
	if (longer == NULL)
		return false;
	longer[count] = init->home;
	longer[count + 1] = NULL;
	init->env = longer;
	return true;
}

int step_prepare_program(struct init *init, const struct step *step)
{
	init->argv = list_to_argv(&step->args[0].v);
	init->env = list_to_argv(&step->args[1].v);
	init->path = step->args[2].s;
	if (init->argv == NULL || init->env == NULL || (init->home != NULL && !add_home(init)))
		return step_failed(init, "malloc", "the arguments");
	return look_for_program(init);
}

/* The interpreter that a script's first line names, or "" for other programs (theirs is in the ELF header). */
static void read_interpreter(const char *path, char *line, size_t size)
{
	int fd;
	ssize_t length;
	size_t blanks;

	/* The program may be allowed no more descriptors than it has. Of ours none is needed any more. */
	close(0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd >= 0 ? read(fd, line, size - 1) : -1;
	if (fd >= 0)
		close(fd);
	line[length > 0 ? length : 0] = '\0';
	if (strncmp(line, "#!", 2) != 0) {
		line[0] = '\0';
		return;
	}
	blanks = 2 + strspn(line + 2, " \t");
	memmove(line, line + blanks, strlen(line + blanks) + 1);
	line[strcspn(line, " \t\r\n")] = '\0';
}

/* execve(2): a single string may have 32 pages (MAX_ARG_STRLEN). Returns false if it has no more. */
static bool is_too_long(struct init *init, const char *call, char *const strings[], size_t *total)
{
	size_t longest = 32 * (size_t)sysconf(_SC_PAGESIZE);

	for (uint32_t i = 0; strings[i] != NULL; i++) {
		size_t size = strlen(strings[i]) + 1, shown = strcspn(strings[i], "=");

		*total += size + sizeof(*strings);
		if (size <= longest)
			continue;
		snprintf(subject, sizeof(subject), "%.*s\n%zu", shown < 60 ? (int)shown : 60, strings[i], size - 1);
		errno = E2BIG;
		step_failed_with(init, call, subject, i);
		return true;
	}
	return false;
}

static int too_long(struct init *init)
{
	size_t total = 0;

	if (is_too_long(init, "execve argument", init->argv, &total) ||
	    is_too_long(init, "execve variable", init->env, &total))
		return -1;
	snprintf(subject, sizeof(subject), "\n%zu", total);
	errno = E2BIG;
	return step_failed(init, "execve together", subject);
}

/* ENOENT although the file is there: the interpreter is what's missing. */
static int program_failed(struct init *init, const char *path)
{
	char interpreter[256];
	int error = errno;

	if (error == E2BIG)
		return too_long(init);
	if (is_absent(error) && access(path, F_OK) != 0)
		return not_found(init, error);
	if (error == ENOENT) {
		read_interpreter(path, interpreter, sizeof(interpreter));
		snprintf(subject, sizeof(subject), "%s: %s", path, interpreter[0] ? interpreter : "the loader");
		errno = error;
		return step_failed(init, "execve interpreter", subject);
	}
	errno = error;
	return step_failed(init, "execve", path);
}

/* As execvp(3): go on after what isn't there, and remember a refusal. */
static int execute_from_path(struct init *init)
{
	const char *path = init->path;
	int error, refusal = 0;

	while (next_candidate(&path, init->argv[0])) {
		execve(candidate, init->argv, init->env);
		error = errno;
		if (error == EACCES && !is_directory(candidate))
			refusal = EACCES;
		if (error == EACCES || (is_absent(error) && access(candidate, F_OK) != 0))
			continue;
		errno = error;
		return program_failed(init, candidate);
	}
	return not_found(init, refusal ? refusal : ENOENT);
}

int step_execute(struct init *init, const struct step *step)
{
	(void)step;
	if (become_like_program(init) != 0)
		return step_failed(init, "setrlimit", "");
	if (strchr(init->argv[0], '/') == NULL)
		return execute_from_path(init);
	execve(init->argv[0], init->argv, init->env);
	return program_failed(init, init->argv[0]);
}
