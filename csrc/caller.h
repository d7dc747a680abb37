/* What we have of our caller: resource limits and umask. They must not get in our way, nor decide how what we make looks; hooks
 * and the program get them again. */
#pragma once

#include <sys/resource.h>

/* Note the caller's, and raise the limits that could get in our way as far as we may. A umask of -1 isn't known, or still ours. */
void caller_note(int callers_umask);

/* Have them again, before a program that isn't the container's is executed. -1 and errno. */
int caller_become(void);

/* The program shall have this limit instead of the caller's. The hard one is raised at once, since that takes a privilege; all else
 * waits for take_program_limits. -1 and errno if it can't be raised. */
int choose_program_limit(int resource, const struct rlimit *limit);

/* From here on they are the program's. -1 and errno. */
int take_program_limits(void);
