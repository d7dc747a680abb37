/* A container that waits for `start`, or a process that is about to be seen in one, holds nothing open that leads to the host, nor
 * to a procfs without masks: whoever may trace it in the same pid namespace could go that way (CVE-2016-9962). */
#include "init.h"
#include "syscalls.h"

#include <limits.h>

static int *next_from(int *descriptors, int count, int first)
{
	int *next = NULL;

	for (int i = 0; i < count; i++)
		if (descriptors[i] >= first && (next == NULL || descriptors[i] < *next))
			next = &descriptors[i];
	return next;
}

int step_close_descriptors(struct init *init, const struct step *step)
{
	int kept[] = { init->conversation, slot(init, step->args[0].f), init->labels[0], init->labels[1] };
	int first = init->base, *next;

	while ((next = next_from(kept, sizeof(kept) / sizeof(*kept), first)) != NULL) {
		if (*next > first && sys_close_range((unsigned int)first, (unsigned int)*next - 1, 0) != 0)
			return step_failed(init, "close_range", "");
		first = *next + 1;
	}
	if (sys_close_range((unsigned int)first, UINT_MAX, 0) != 0)
		return step_failed(init, "close_range", "");
	init->root = init->host_proc = init->proc = init->empty = -1;
	init->kept[KEPT_PROC] = init->kept[KEPT_SYS] = -1;
	return 0;
}
