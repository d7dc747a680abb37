/* Running a hook. The host side (through the shim) and the init run theirs by the same code. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HOOK_OUTPUT_MAX = 1024 };

struct hook {
	const char *path;
	char *const *argv;
	char *const *envp;
	const char *directory; /* its working directory, / if it can't go there; NULL: ours */
	uint32_t timeout;      /* in seconds, 0: no limit */
	int (*become)(void *); /* with `subject`, called last before it is executed; NULL: caller_become */
	void *subject;
};

struct hook_result {
	const char *call; /* the system call that failed, or NULL */
	int error;	  /* its errno */
	int status;	  /* as waitpid(2) gives it */
	int timed_out;
	char output[HOOK_OUTPUT_MAX]; /* the end of what the hook wrote to its standard error */
};

/* Run the hook with the state on its standard input, and wait for it.
 *
 * It gets a process group of its own; after the timeout the whole group is killed.
 * Returns 0 if it ran and ended with status 0, else -1 with the reason in *result. */
int hook_run(const struct hook *hook, const char *state, size_t state_size, struct hook_result *result);
