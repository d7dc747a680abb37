/* What the user's program is: its limits, its identity, its place. */
#include "init.h"
#include "caller.h"
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
	uint32_t resource = step->args[0].u;

	if (resource >= RLIM_NLIMITS) {
		errno = EINVAL;
		return step_failed(init, "setrlimit", "");
	}
	if (choose_program_limit((int)resource, &limit) != 0)
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

int become_like_program(struct init *init)
{
	if (init->like_program)
		return 0;
	umask(init->umask);
	init->like_program = true;
	return take_program_limits();
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
	gid_t *groups = calloc(count + 1, sizeof(*groups));
	bool set;

	if (groups == NULL)
		return step_failed(init, "calloc", "the groups");
	memcpy(groups, step->args[0].b.data, count * sizeof(*groups));
	set = setgroups(count, groups) == 0;
	free(groups);
	/* Where a user without privileges wrote the map, nobody may drop groups: user_namespaces(7). */
	if (!set && (count > 0 || errno != EPERM || !setgroups_is_denied(init)))
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
