/* When each step began, for `pyoci --trace`: a record a step, in memory that the host side gave us and reads at the end. */
#include "trace.h"
#include "init.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Also pyoci/trace.py, class Memory. */
struct trace_record {
	uint64_t began; /* nanoseconds since 1970; 0: there is no such record */
	uint32_t step;	/* its number */
	uint32_t kind;
	char origin[112]; /* cut to what fits */
};

bool trace_into(struct init *init, int memory)
{
	struct stat st;
	void *records;
	size_t count;

	if (fstat(memory, &st) != 0)
		return false;
	records = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	close(memory);
	if (records == MAP_FAILED)
		return false;
	init->trace = records;
	count = (size_t)st.st_size / sizeof(*init->trace);
	init->trace_end = init->trace + count;
	init->traced = 0;
	return true;
}

/* The mapping is shared, so a child that goes on in our place (fork) goes on with the records too. */
void trace_begin_of(struct init *init, const struct step *step)
{
	struct trace_record *record = init->trace + init->traced;
	struct timespec now;

	if (record >= init->trace_end)
		return;
	init->traced++;
	/* A time namespace shifts all clocks but this one and CLOCK_TAI, time_namespaces(7). */
	clock_gettime(CLOCK_REALTIME, &now);
	record->step = step->number;
	record->kind = step->kind;
	strncpy(record->origin, step->origin, sizeof(record->origin) - 1);
	record->began = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	/* On hosts whose clock is none of the vDSO's, asking for the time is a system call, which the filter may forbid. */
	if (step->kind == STEP_load_seccomp)
		trace_stop(init);
}

void trace_stop(struct init *init)
{
	if (init->trace)
		munmap(init->trace, (size_t)((char *)init->trace_end - (char *)init->trace));
	init->trace = NULL;
}

int step_trace(struct init *init, const struct step *step)
{
	if (!trace_into(init, slot(init, step->args[0].f)))
		return step_failed(init, "mmap", "the memory for the trace");
	trace_begin_of(init, step);
	return 0;
}
