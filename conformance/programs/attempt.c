/* Makes system calls and says how each ended, a line each.
 *
 *	attempt [thread/|int80/]CALL[:ARGUMENT]...  ...
 *
 * CALL is a number or a name of the table; thread/ makes it in a second thread, int80/ by the gate of i386, whose numbers
 * and arguments have 32 bits. Every attempt has a process of its own:
 *
 *	ok              the call returned something above 0
 *	zero            it returned 0
 *	errno N         it failed
 *	trapped         it raised SIGSYS, which could be handled
 *	signal N        the process was killed by the signal
 *	thread ended    the thread that made the call was killed, its process goes on
 *
 * No stdio, and no buffers: what this program calls itself has to be allowed by the filters that it is run under. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS = 6 };

struct attempt {
	long number;
	unsigned long arguments[ARGUMENTS];
	bool in_thread, by_gate, returned;
	long result;
};

/* Calls that ignore their arguments, and whose results are above 0. */
static const struct {
	const char *name;
	long number;
} calls[] = { { "getpid", SYS_getpid }, { "getppid", SYS_getppid }, { "gettid", SYS_gettid } };

static void say(const char *what, long number)
{
	char line[64];
	int length = snprintf(line, sizeof(line), number >= 0 ? "%s %ld\n" : "%s\n", what, number);

	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		_exit(3);
}

static void handle_trap(int signal)
{
	static const char line[] = "trapped\n";

	(void)signal;
	_exit(write(STDOUT_FILENO, line, sizeof(line) - 1) == sizeof(line) - 1 ? 0 : 3);
}

static bool skip(const char **word, const char *prefix)
{
	size_t length = strlen(prefix);

	if (strncmp(*word, prefix, length) != 0)
		return false;
	*word += length;
	return true;
}

static struct attempt read_attempt(const char *word)
{
	struct attempt attempt = { .in_thread = skip(&word, "thread/"), .by_gate = skip(&word, "int80/") };
	char *rest = strchrnul(word, ':');
	size_t length = (size_t)(rest - word);

	attempt.number = strtol(word, NULL, 0);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (strlen(calls[i].name) == length && strncmp(word, calls[i].name, length) == 0)
			attempt.number = calls[i].number;
	for (int i = 0; i < ARGUMENTS && *rest == ':'; i++)
		attempt.arguments[i] = strtoul(rest + 1, &rest, 0);
	return attempt;
}

static long through_gate(long number, const unsigned long *arguments)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(arguments[0]), "c"(arguments[1]), "d"(arguments[2])
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
#else
	(void)number;
	(void)arguments;
	return -ENOSYS;
#endif
}

static void *make_call(void *argument)
{
	struct attempt *attempt = argument;
	unsigned long *a = attempt->arguments;

	if (attempt->by_gate) {
		attempt->result = through_gate(attempt->number, a);
	} else {
		attempt->result = syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (attempt->result == -1)
			attempt->result = -errno;
	}
	attempt->returned = true;
	return NULL;
}

static void carry_out(struct attempt *attempt)
{
	pthread_t thread;

	if (!attempt->in_thread)
		make_call(attempt);
	else if (pthread_create(&thread, NULL, make_call, attempt) != 0 || pthread_join(thread, NULL) != 0)
		_exit(2);
	if (!attempt->returned)
		say("thread ended", -1);
	else if (attempt->result < 0)
		say("errno", -attempt->result);
	else
		say(attempt->result == 0 ? "zero" : "ok", -1);
}

int main(int argc, char **argv)
{
	(void)argc;
	signal(SIGSYS, handle_trap);
	for (char **word = argv + 1; *word != NULL; word++) {
		struct attempt attempt = read_attempt(*word);
		pid_t child = fork();
		int status;

		if (child == 0) {
			carry_out(&attempt);
			_exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 2;
		if (WIFSIGNALED(status))
			say("signal", WTERMSIG(status));
		else if (status != 0)
			return 2;
	}
	return 0;
}
