/* User and time namespaces, and the second birth that a user namespace takes: what the container makes must belong to its
 * user namespace, so the process that enters that makes everything else in a child, which goes on with the plan. */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* A file of /proc/self, through the host's procfs. An undumpable process's files are root's, proc(5), so others than root must
 * be dumpable for a moment. It is a moment in which nobody of the container's namespaces can see us. */
static int open_by_hosts(const struct init *init, const char *path, int flags)
{
	int error, fd = openat(init->host_proc, path, flags | O_CLOEXEC);

	if (fd >= 0 || errno != EACCES)
		return fd;
	prctl(PR_SET_DUMPABLE, 1);
	fd = openat(init->host_proc, path, flags | O_CLOEXEC);
	error = errno;
	prctl(PR_SET_DUMPABLE, 0);
	errno = error;
	return fd;
}

/* The same in a container that we have joined: nothing of the host's is held there. Its /proc will do if it is one, and if
 * nothing covers what is looked for (CVE-2019-16884, CVE-2025-52881); else a procfs of our own, for a moment. */
static int open_by_containers(struct init *init, const char *path, int flags)
{
	int fd = -1, error, proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (is_whole_procfs(proc))
		fd = sys_openat2(proc, path, (uint64_t)flags | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
	if (fd < 0)
		fd = sys_openat2(private_proc(init), path, (uint64_t)flags | O_CLOEXEC,
				 RESOLVE_BENEATH | RESOLVE_NO_XDEV);
	error = errno;
	if (proc >= 0)
		close(proc);
	if (init->proc >= 0)
		close(init->proc);
	init->proc = -1;
	errno = error;
	return fd;
}

int open_own_file(struct init *init, const char *path, int flags)
{
	return init->host_proc >= 0 ? open_by_hosts(init, path, flags) : open_by_containers(init, path, flags);
}

int reopen(struct init *init, int fd, int flags)
{
	char name[12];
	int result, directory = open_own_file(init, "self/fd", O_PATH | O_DIRECTORY);

	if (directory < 0)
		return -1;
	snprintf(name, sizeof(name), "%d", fd);
	result = openat(directory, name, flags | O_CLOEXEC);
	close(directory);
	return result;
}

/* The host side writes the maps while this process waits; it can only if it is allowed to open our files, see above. */
int step_make_user_namespace(struct init *init, const struct step *step)
{
	if (unshare(CLONE_NEWUSER) != 0)
		return step_failed(init, "unshare", "");
	prctl(PR_SET_DUMPABLE, 1);
	say_and_wait(init, step, MESSAGE_ASK, STAGE_ID_MAPS);
	prctl(PR_SET_DUMPABLE, 0);
	return 0;
}

/* A change of identity clears the death signal, prctl(2), and so does entering a user namespace. */
int keep_death_signal(struct init *init)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return step_failed(init, "prctl", "PR_SET_PDEATHSIG");
	if (host_is_gone(init))
		_exit(125);
	return 0;
}

/* The container's root, or, if 0 has no mapping, the user that the program will have. */
int step_assume_root(struct init *init, const struct step *step)
{
	gid_t gid = setresgid(0, 0, 0) == 0 ? 0 : step->args[1].u;
	uid_t uid = 0;

	if (gid != 0 && setresgid(gid, gid, gid) != 0)
		return step_failed_with(init, "setresgid", "", gid);
	if (setresuid(0, 0, 0) != 0) {
		uid = step->args[0].u;
		if (setresuid(uid, uid, uid) != 0)
			return step_failed_with(init, "setresuid", "", uid);
	}
	return keep_death_signal(init);
}

/* The offsets can be written until a process is in the namespace, time_namespaces(7): making it puts nobody in. A single
 * thread may enter by setns(2); a child of it is born there. */
int step_make_time_namespace(struct init *init, const struct step *step)
{
	const char *offsets = step->args[0].s;
	int fd;

	if (unshare(CLONE_NEWTIME) != 0)
		return step_failed(init, "unshare", "");
	fd = open_own_file(init, "self/timens_offsets", O_WRONLY);
	if (fd < 0)
		return step_failed(init, "open", "/proc/self/timens_offsets");
	if (*offsets && write(fd, offsets, strlen(offsets)) != (ssize_t)strlen(offsets))
		return step_failed(init, "write", "/proc/self/timens_offsets");
	close(fd);
	fd = open_own_file(init, "self/ns/time_for_children", O_RDONLY);
	if (fd < 0 || setns(fd, CLONE_NEWTIME) != 0)
		return step_failed(init, "setns", "/proc/self/ns/time_for_children");
	close(fd);
	return 0;
}

/* The child is our own parent's, not ours (CLONE_PARENT): the host side waits for it and ends with it as with any other init.
 * We tell its pid and leave; the child goes on when the host side says so. */
int step_fork(struct init *init, const struct step *step)
{
	struct clone_args args = { .flags = step->args[0].u | CLONE_PARENT };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return step_failed(init, "clone3", "new namespaces");
	if (pid > 0) {
		struct message message = { MESSAGE_BORN, step->number, 0, (uint32_t)pid };

		send_message(init->conversation, &message, init, step->origin);
		_exit(0);
	}
	setsid();
	if (keep_death_signal(init) != 0)
		return -1;
	if (!go_ahead(init->conversation))
		_exit(125);
	return 0;
}
