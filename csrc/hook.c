#include "hook.h"
#include "caller.h"
#include "signals.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { LOOK_AGAIN_MS = 20 };

static int failed(struct hook_result *result, const char *call)
{
	result->call = call;
	result->error = errno;
	return -1;
}

/* The state, to be read from its start. A memfd and not a pipe: nobody has to write while the hook reads (or doesn't). */
static int state_file(const char *state, size_t size)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (write(fd, state, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The bundle may be gone before its container (poststop), or be out of reach for the root of a user namespace. */
static int go_to(const char *directory)
{
	return directory == NULL || chdir(directory) == 0 ? 0 : chdir("/");
}

/* Between fork and exec. Standard output goes where our standard error would: to the memfd that keeps it. */
static void become_hook(const struct hook *hook, int input, int output, int report)
{
	int error;

	setpgid(0, 0);
	/* A hook whose runtime is killed would go on with nobody to wait for it. What it left in the background stays. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	reset_signals();
	if (go_to(hook->directory) == 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2) {
		sys_close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
		/* Its result doesn't matter: what can't be had again is not worth a failure. */
		if (hook->become)
			hook->become(hook->subject);
		else
			caller_become();
		execve(hook->path, hook->argv, hook->envp);
	}
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

static int milliseconds_left(const struct timespec *end)
{
	struct timespec now;
	int64_t left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left = (end->tv_sec - now.tv_sec) * 1000LL + (end->tv_nsec - now.tv_nsec) / 1000000;
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Wait for the end of the process, at most until the time is up; then end its whole group. */
static void limit_time(pid_t pid, uint32_t timeout, struct hook_result *result)
{
	/* A filter that we are under may refuse a pidfd: then we look again and again. */
	struct pollfd process = { .fd = sys_pidfd_open(pid, 0), .events = POLLIN };
	bool ended, blind = process.fd < 0;
	struct timespec end;
	int left;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout;
	do {
		left = milliseconds_left(&end);
		ended = poll(&process, 1, blind && left > LOOK_AGAIN_MS ? LOOK_AGAIN_MS : left) > 0;
		ended = ended || (blind && has_ended(pid));
	} while (!ended && left > 0);
	if (!blind)
		close(process.fd);
	if (ended)
		return;
	result->timed_out = 1;
	if (kill(-pid, SIGKILL) != 0)
		kill(pid, SIGKILL);
}

static int wait_for(pid_t pid, uint32_t timeout, struct hook_result *result)
{
	if (timeout)
		limit_time(pid, timeout, result);
	while (waitpid(pid, &result->status, 0) < 0)
		if (errno != EINTR)
			return failed(result, "waitpid");
	return 0;
}

static void keep_output(int output, struct hook_result *result)
{
	off_t size = lseek(output, 0, SEEK_END);
	off_t from = size > HOOK_OUTPUT_MAX - 1 ? size - (HOOK_OUTPUT_MAX - 1) : 0;
	ssize_t length = pread(output, result->output, HOOK_OUTPUT_MAX - 1, from);

	result->output[length > 0 ? length : 0] = '\0';
}

static int run(const struct hook *hook, int input, int output, struct hook_result *result)
{
	int report[2], error = 0;
	ssize_t length;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return failed(result, "pipe2");
	pid = fork();
	if (pid == 0)
		become_hook(hook, input, output, report[1]);
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return failed(result, "fork");
	}
	do
		length = read(report[0], &error, sizeof(error));
	while (length < 0 && errno == EINTR);
	close(report[0]);
	if (wait_for(pid, hook->timeout, result) != 0)
		return -1;
	keep_output(output, result);
	if (length == sizeof(error)) {
		errno = error;
		return failed(result, "execve");
	}
	return result->timed_out || result->status != 0 ? -1 : 0;
}

int hook_run(const struct hook *hook, const char *state, size_t state_size, struct hook_result *result)
{
	int outcome, output, input;

	memset(result, 0, sizeof(*result));
	input = state_file(state, state_size);
	output = memfd_create("output", MFD_CLOEXEC);
	if (input < 0 || output < 0)
		outcome = failed(result, "memfd_create");
	else
		outcome = run(hook, input, output, result);
	if (input >= 0)
		close(input);
	if (output >= 0)
		close(output);
	return outcome;
}
