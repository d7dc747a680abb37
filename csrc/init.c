#include "init.h"
#include "caller.h"
#include "signals.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

int step_failed(struct init *init, const char *call, const char *subject)
{
	init->error = errno;
	init->call = call;
	strncpy(init->subject, subject, sizeof(init->subject) - 1);
	return -1;
}

int step_failed_with(struct init *init, const char *call, const char *subject, uint32_t value)
{
	step_failed(init, call, subject);
	init->value = value;
	return -1;
}

static int execute_step(struct init *init, const struct step *step)
{
	switch (step->kind) {
#define STEP(symbol, name, arguments, text)                                                                            \
	case STEP_##symbol:                                                                                            \
		return step_##symbol(init, step);
#include "steps.def"
#undef STEP
	case STEP_COUNT:
		break;
	}
	errno = ENOSYS;
	return step_failed(init, "plan", "unknown step");
}

/* PR_SET_PDEATHSIG was set before this program was executed. If the host side died even before that, nobody will ever
 * answer: its end of the conversation is closed. */
bool host_is_gone(const struct init *init)
{
	struct pollfd conversation = { .fd = init->conversation };

	return poll(&conversation, 1, 0) == 1 && (conversation.revents & (POLLHUP | POLLERR));
}

static bool open_plan(struct init *init)
{
	struct stat st;
	void *data;

	if (fstat(slot(init, SLOT_PLAN), &st) != 0 || st.st_size == 0)
		return false;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, slot(init, SLOT_PLAN), 0);
	if (data == MAP_FAILED)
		return false;
	return plan_open(&init->plan, data, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	struct init init = {
		.root = -1,
		.host_proc = -1,
		.labels = { -1, -1 },
		.kept = { -1, -1 },
		.proc = -1,
		.empty = -1,
		.umask = 022,
	};
	struct step step = { .origin = "", .number = UINT32_MAX };

	if (argc < 2 || (init.base = (int)strtol(argv[1], NULL, 10)) < 3)
		return 125;
	init.conversation = slot(&init, SLOT_CONVERSATION);
	/* Before any namespace is joined: nothing in there may look into us (CVE-2016-9962). */
	prctl(PR_SET_DUMPABLE, 0);
	sys_close_range((unsigned int)init.base, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	reset_signals();
	if (host_is_gone(&init))
		return 125;
	setsid();
	caller_note((int)umask(0));

	if (!open_plan(&init)) {
		errno = EBADMSG;
		step_failed(&init, "plan", "the plan");
		report_failure(&init, &step);
		return 125;
	}
	/* Else it may be the number of a descriptor; `start` looks for it. Not if an image has this program executed: then it is
	 * the container's, and there is no plan. */
	prctl(PR_SET_NAME, "pyoci-init");
	sys_close_range((unsigned int)slot(&init, init.plan.slots), UINT_MAX, 0);
	init.host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (init.host_proc < 0) {
		/* Else its files would be looked for as those of a container's are, by what that has mounted. */
		step_failed(&init, "open", "/proc");
		report_failure(&init, &step);
		return 125;
	}

	while (plan_next(&init.plan, &step)) {
		if (init.trace)
			trace_begin_of(&init, &step);
		if (execute_step(&init, &step) == 0)
			continue;
		undo_all();
		report_failure(&init, &step);
		return 125;
	}
	return 0;
}
