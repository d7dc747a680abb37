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
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

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

/* Between fork and exec. Standard output goes where our standard error would: to the memfd that keeps it. */
static void become_hook(const char *path, char *const argv[], char *const envp[], int input, int output, int report)
{
	int error;

	setpgid(0, 0);
	/* A hook whose runtime is killed would go on with nobody to wait for it. What it left in the background stays. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	reset_signals();
	if (dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2) {
		sys_close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
		caller_become();
		execve(path, argv, envp);
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

/* Wait for the end of the process, at most until the time is up; then end its whole group. */
static int wait_for(pid_t pid, uint32_t timeout, struct hook_result *result)
{
	struct timespec end;
	int pidfd = sys_pidfd_open(pid, 0);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int ready = -1;

	if (pidfd < 0)
		return failed(result, "pidfd_open");
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout;
	do
		ready = poll(&ended, 1, timeout ? milliseconds_left(&end) : -1);
	while (ready < 0 && errno == EINTR);
	close(pidfd);
	if (ready == 0) {
		result->timed_out = 1;
		kill(-pid, SIGKILL);
	}
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

static int run(const char *path, char *const argv[], char *const envp[], uint32_t timeout, int input, int output,
	       struct hook_result *result)
{
	int report[2], error = 0;
	ssize_t length;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return failed(result, "pipe2");
	pid = fork();
	if (pid == 0)
		become_hook(path, argv, envp, input, output, report[1]);
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return failed(result, "fork");
	}
	do
		length = read(report[0], &error, sizeof(error));
	while (length < 0 && errno == EINTR);
	close(report[0]);
	if (wait_for(pid, timeout, result) != 0)
		return -1;
	keep_output(output, result);
	if (length == sizeof(error)) {
		errno = error;
		return failed(result, "execve");
	}
	return result->timed_out || result->status != 0 ? -1 : 0;
}

int hook_run(const char *path, char *const argv[], char *const envp[], uint32_t timeout, const char *state,
	     size_t state_size, struct hook_result *result)
{
	int outcome, output, input;

	memset(result, 0, sizeof(*result));
	input = state_file(state, state_size);
	output = memfd_create("output", MFD_CLOEXEC);
	if (input < 0 || output < 0)
		outcome = failed(result, "memfd_create");
	else
		outcome = run(path, argv, envp, timeout, input, output, result);
	if (input >= 0)
		close(input);
	if (output >= 0)
		close(output);
	return outcome;
}
