/* How the kernel serves the program: its turns on the CPUs and at the disks, where its memory comes from, its personality.
 * All of it is inherited over execve(2). */
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

/* SCHED_ATTR_SIZE_VER1; linux/sched/types.h can't be included beside the C library's sched.h. */
struct scheduling {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period; /* ns */
	uint32_t clamp_min, clamp_max;
};

enum { WHOLE_CPU = 1024, FLAG_CLAMP_MAX = 0x40 }; /* SCHED_CAPACITY_SCALE, SCHED_FLAG_UTIL_CLAMP_MAX */

/* CPUs that the machine doesn't have are ignored, and those that the cpuset forbids too. */
int step_set_affinity(struct init *init, const struct step *step)
{
	if (syscall(SYS_sched_setaffinity, 0, (size_t)step->args[0].b.length, step->args[0].b.data) != 0)
		return step_failed(init, "sched_setaffinity", "");
	return 0;
}

int step_set_scheduler(struct init *init, const struct step *step)
{
	struct scheduling attr = {
		.size = sizeof(attr),
		.policy = step->args[0].u,
		.flags = step->args[1].l,
		.nice = (int32_t)step->args[2].u,
		.priority = step->args[3].u,
		.runtime = step->args[4].l,
		.deadline = step->args[5].l,
		.period = step->args[6].l,
		/* The specification has the clamps' flags, but no values for them: so they clamp nothing. */
		.clamp_max = step->args[1].l & FLAG_CLAMP_MAX ? WHOLE_CPU : 0,
	};

	if (syscall(SYS_sched_setattr, 0, &attr, 0) != 0)
		return step_failed(init, "sched_setattr", "");
	return 0;
}

int step_set_io_priority(struct init *init, const struct step *step)
{
	static const int this_process = 1; /* IOPRIO_WHO_PROCESS */

	if (syscall(SYS_ioprio_set, this_process, 0, (int)step->args[0].u) != 0)
		return step_failed(init, "ioprio_set", "");
	return 0;
}

int step_set_memory_policy(struct init *init, const struct step *step)
{
	const struct bytes *nodes = &step->args[1].b;
	/* The kernel reads whole longs; the plan's bytes lie anywhere. */
	unsigned long *mask = calloc(nodes->length / sizeof(*mask) + 1, sizeof(*mask));
	long result;

	if (mask == NULL)
		return step_failed(init, "calloc", "the nodes");
	memcpy(mask, nodes->data, nodes->length);
	/* One more than there are: the kernel takes one off. */
	result = syscall(SYS_set_mempolicy, (int)step->args[0].u, nodes->length ? mask : NULL,
			 nodes->length ? nodes->length * 8UL + 1 : 0UL);
	free(mask);
	return result == 0 ? 0 : step_failed(init, "set_mempolicy", "");
}

int step_set_personality(struct init *init, const struct step *step)
{
	if (personality(step->args[0].u) < 0)
		return step_failed(init, "personality", "");
	return 0;
}
