/* The hooks that run in the container's namespaces: createContainer and startContainer. The latter run under the container's
 * filter, and so does what is done here for them. */
#include "hook.h"
#include "init.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the host side makes a sentence of: call "hook", the value as below, and the hook's own last words. */
enum { HOOK_EXITED = 0x100, HOOK_KILLED = 0x200, HOOK_TIMED_OUT = 0x300 };

static int hook_failed(struct init *init, const struct hook_result *result)
{
	errno = result->error;
	if (result->call)
		return step_failed(init, result->call, "the hook");
	if (result->timed_out)
		return step_failed_with(init, "hook", result->output, HOOK_TIMED_OUT);
	if (WIFSIGNALED(result->status))
		return step_failed_with(init, "hook", result->output, HOOK_KILLED | (uint32_t)WTERMSIG(result->status));
	return step_failed_with(init, "hook", result->output, HOOK_EXITED | (uint32_t)WEXITSTATUS(result->status));
}

/* In hooks of the container's namespaces the pid is the one that is seen there; only we know it. */
static char *state_with_pid(const char *before, const char *after)
{
	size_t size = strlen(before) + strlen(after) + sizeof("2147483647");
	char *state = malloc(size);

	if (state != NULL)
		snprintf(state, size, "%s%d%s", before, (int)getpid(), after);
	return state;
}

static int become_program(void *init)
{
	return become_like_program(init);
}

int step_run_hook(struct init *init, const struct step *step)
{
	char **argv = list_to_argv(&step->args[1].v), **env = list_to_argv(&step->args[2].v);
	char *state = state_with_pid(step->args[4].s, step->args[5].s);
	struct hook hook = {
		.path = step->args[0].s,
		.argv = argv,
		.envp = env,
		.timeout = step->args[3].u,
		.subject = init,
	};
	struct hook_result result;
	int outcome;

	/* Those that run in the container's root, where there is no bundle, are as the program will be. */
	if (step->args[6].s[0])
		hook.directory = step->args[6].s;
	else
		hook.become = become_program;
	if (argv == NULL || env == NULL || state == NULL)
		outcome = step_failed(init, "malloc", "the hook");
	else
		outcome = hook_run(&hook, state, strlen(state), &result) == 0 ? 0 : hook_failed(init, &result);
	free(argv);
	free(env);
	free(state);
	return outcome;
}
