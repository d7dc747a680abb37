/* What the user's program is: its limits, its identity, its place, and at last itself. */
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char default_path[] = "/bin:/usr/bin"; /* execvp(3) */

int step_set_oom_score_adj(struct init *init, const struct step *step)
{
	static const char path[] = "self/oom_score_adj";
	size_t length = strlen(step->args[0].s);
	int fd = open_own_file(init, path, O_WRONLY);

	if (fd < 0)
		return step_failed(init, "open", path);
	if (write(fd, step->args[0].s, length) != (ssize_t)length)
		return step_failed(init, "write", path);
	close(fd);
	return 0;
}

int step_set_rlimit(struct init *init, const struct step *step)
{
	struct rlimit limit = { .rlim_cur = step->args[1].l, .rlim_max = step->args[2].l };

	if (setrlimit((__rlimit_resource_t)step->args[0].u, &limit) != 0)
		return step_failed(init, "setrlimit", "");
	return 0;
}

/* A working directory outside the root shows as "(unreachable)/..." (CVE-2024-21626). */
static bool is_inside_root(void)
{
	char path[PATH_MAX];

	return syscall(SYS_getcwd, path, sizeof(path)) > 0 && path[0] == '/';
}

/* A directory may be open to root only (before set-user), or to the user only (a root-squashing NFS, after it). */
int step_change_directory(struct init *init, const struct step *step)
{
	const char *path = step->args[0].s;

	if (init->directory_changed)
		return 0;
	if (chdir(path) != 0) {
		if (errno == EACCES && step->args[1].u == 1)
			return 0;
		return step_failed(init, "chdir", path);
	}
	if (!is_inside_root()) {
		errno = EXDEV;
		return step_failed(init, "chdir", path);
	}
	init->directory_changed = true;
	return 0;
}

int step_set_umask(struct init *init, const struct step *step)
{
	init->umask = step->args[0].u;
	return 0;
}

void take_umask(struct init *init)
{
	if (!init->umask_taken)
		umask(init->umask);
	init->umask_taken = true;
}

static bool setgroups_is_denied(struct init *init)
{
	char text[4] = "";
	int fd = open_own_file(init, "self/setgroups", O_RDONLY);
	bool denied = fd >= 0 && read(fd, text, sizeof(text)) == sizeof(text) && memcmp(text, "deny", 4) == 0;

	if (fd >= 0)
		close(fd);
	errno = EPERM;
	return denied;
}

int step_set_groups(struct init *init, const struct step *step)
{
	size_t count = step->args[0].b.length / sizeof(gid_t);
	gid_t groups[NGROUPS_MAX];

	if (count > NGROUPS_MAX) {
		errno = EINVAL;
		return step_failed(init, "setgroups", "");
	}
	memcpy(groups, step->args[0].b.data, count * sizeof(gid_t));
	/* Where a user without privileges wrote the map, nobody may drop groups: user_namespaces(7). */
	if (setgroups(count, groups) != 0 && (count > 0 || errno != EPERM || !setgroups_is_denied(init)))
		return step_failed(init, "setgroups", "");
	return 0;
}

/* The user's own to open again by /dev/stdout, unless they are of everybody's (/dev/null). */
static void give_stdio(uid_t uid)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++) {
		bool is_null = fstat(fd, &st) != 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));

		/* Not on every filesystem, not by everybody (in a user namespace, say), and not worth a failure. */
		if (!is_null && st.st_uid != uid && fchown(fd, uid, (gid_t)-1) != 0)
			continue;
	}
}

int step_set_user(struct init *init, const struct step *step)
{
	uid_t uid = step->args[0].u;
	gid_t gid = step->args[1].u;

	give_stdio(uid);
	if (prctl(PR_SET_KEEPCAPS, 1) != 0)
		return step_failed(init, "prctl", "PR_SET_KEEPCAPS");
	if (setresgid(gid, gid, gid) != 0)
		return step_failed_with(init, "setresgid", "", gid);
	if (setresuid(uid, uid, uid) != 0)
		return step_failed_with(init, "setresuid", "", uid);
	if (prctl(PR_SET_KEEPCAPS, 0) != 0)
		return step_failed(init, "prctl", "PR_SET_KEEPCAPS");
	return keep_death_signal(init);
}

static const char *search_path(char *const env[])
{
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return default_path;
}

/* The interpreter that a script's first line names, or "" for other programs (theirs is in the ELF header). */
static void read_interpreter(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, line, size - 1) : -1;
	size_t blanks;

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

/* execve(2) failed with ENOENT although the file is there: the interpreter is what's missing. */
static int program_failed(struct init *init, const char *path)
{
	char interpreter[256], subject[PATH_MAX + sizeof(interpreter) + 4];
	int error = errno;

	if (error != ENOENT || access(path, F_OK) != 0) {
		errno = error;
		return step_failed(init, "execve", path);
	}
	read_interpreter(path, interpreter, sizeof(interpreter));
	snprintf(subject, sizeof(subject), "%s: %s", path, interpreter[0] ? interpreter : "the loader");
	errno = error;
	return step_failed(init, "execve interpreter", subject);
}

/* As execvp(3): go on after what isn't there, and remember a refusal. */
static int execute_from_path(struct init *init, const char *path, char *const argv[], char *const env[])
{
	char candidate[PATH_MAX];
	int refusal = 0;

	for (;;) {
		size_t length = strcspn(path, ":");
		const char *directory = length ? path : ".";
		size_t used = length ? length : 1;

		if (used + 1 + strlen(argv[0]) + 1 <= sizeof(candidate)) {
			memcpy(candidate, directory, used);
			candidate[used] = '/';
			strcpy(candidate + used + 1, argv[0]);
			execve(candidate, argv, env);
			if (errno == EACCES)
				refusal = EACCES;
			else if ((errno != ENOENT && errno != ENOTDIR) || access(candidate, F_OK) == 0)
				return program_failed(init, candidate);
		}
		path += length;
		if (*path++ == '\0')
			break;
	}
	errno = refusal ? refusal : ENOENT;
	return step_failed(init, "execve PATH", argv[0]);
}

int step_execute(struct init *init, const struct step *step)
{
	char **argv = list_to_argv(&step->args[0].v);
	char **env = list_to_argv(&step->args[1].v);

	if (argv == NULL || env == NULL)
		return step_failed(init, "calloc", "the arguments");
	take_umask(init);
	if (strchr(argv[0], '/') == NULL)
		return execute_from_path(init, search_path(env), argv, env);
	execve(argv[0], argv, env);
	return program_failed(init, argv[0]);
}
