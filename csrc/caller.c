#include "caller.h"

#include <stddef.h>
#include <sys/stat.h>

static struct rlimit callers[RLIM_NLIMITS], programs[RLIM_NLIMITS];
static int noted; /* how many */
static int umask_of_caller = -1;

/* What is enough for us. */
static const struct {
	int resource;
	rlim_t enough;
} needs[] = {
	{ RLIMIT_FSIZE, RLIM_INFINITY }, { RLIMIT_DATA, RLIM_INFINITY }, { RLIMIT_AS, RLIM_INFINITY },
	{ RLIMIT_NPROC, RLIM_INFINITY }, { RLIMIT_STACK, 8 << 20 },	 { RLIMIT_NOFILE, 1024 },
	{ RLIMIT_MEMLOCK, 8 << 20 },	 { RLIMIT_SIGPENDING, 1024 },
};

/* Without the privilege it goes as far as the hard limit. */
static void raise_limit(int resource, rlim_t enough)
{
	struct rlimit limit = callers[resource];

	if (limit.rlim_cur >= enough)
		return;
	limit.rlim_cur = enough;
	if (limit.rlim_max < enough)
		limit.rlim_max = enough;
	if (setrlimit((__rlimit_resource_t)resource, &limit) == 0)
		return;
	limit.rlim_cur = limit.rlim_max = callers[resource].rlim_max;
	setrlimit((__rlimit_resource_t)resource, &limit);
}

void caller_note(int callers_umask)
{
	umask_of_caller = callers_umask;
	while (noted < RLIM_NLIMITS && getrlimit((__rlimit_resource_t)noted, &callers[noted]) == 0) {
		programs[noted] = callers[noted];
		noted++;
	}
	for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++)
		if (needs[i].resource < noted)
			raise_limit(needs[i].resource, needs[i].enough);
}

int choose_program_limit(int resource, const struct rlimit *limit)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
		return -1;
	if (limit->rlim_max > now.rlim_max) {
		now.rlim_max = limit->rlim_max;
		if (setrlimit((__rlimit_resource_t)resource, &now) != 0)
			return -1;
	}
	programs[resource] = *limit;
	return 0;
}

static int set_all(const struct rlimit *limits)
{
	struct rlimit now;

	for (int resource = 0; resource < noted; resource++) {
		const struct rlimit *limit = &limits[resource];

		if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
			return -1;
		if (now.rlim_cur == limit->rlim_cur && now.rlim_max == limit->rlim_max)
			continue;
		if (setrlimit((__rlimit_resource_t)resource, limit) != 0)
			return -1;
	}
	return 0;
}

int caller_become(void)
{
	if (umask_of_caller >= 0)
		umask((mode_t)umask_of_caller);
	return set_all(callers);
}

int take_program_limits(void)
{
	return set_all(programs);
}
