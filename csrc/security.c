/* Privileges: capabilities, no_new_privs, seccomp. */
#include "init.h"
#include "listener.h"
#include "syscalls.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

enum { CAPABILITIES = 64 };

static int capability_failed(struct init *init, const char *call, int capability)
{
	char name[sizeof("capability ") + 4];

	snprintf(name, sizeof(name), "capability %d", capability);
	return step_failed(init, call, name);
}

int step_limit_bounding(struct init *init, const struct step *step)
{
	uint64_t kept = step->args[0].l;

	/* PR_CAPBSET_READ fails behind the last capability that this kernel knows. */
	for (int cap = 0; cap < CAPABILITIES && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!(kept >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) != 0)
			return capability_failed(init, "prctl", cap);
	return 0;
}

static int capset(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)(effective >> 32 * i);
		data[i].permitted = (uint32_t)(permitted >> 32 * i);
		data[i].inheritable = (uint32_t)(inheritable >> 32 * i);
	}
	return (int)syscall(SYS_capset, &header, data);
}

int step_set_capabilities(struct init *init, const struct step *step)
{
	uint64_t ambient = step->args[3].l;

	if (capset(step->args[0].l, step->args[1].l, step->args[2].l) != 0)
		return step_failed(init, "capset", "");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return step_failed(init, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
	for (int cap = 0; cap < CAPABILITIES; cap++)
		if ((ambient >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
			return capability_failed(init, "prctl", cap);
	return 0;
}

/* A process that isn't dumpable can be traced, or its namespaces entered, only with CAP_SYS_PTRACE in the user namespace in which it
 * was executed: ptrace(2). */
int step_set_dumpable(struct init *init, const struct step *step)
{
	if (prctl(PR_SET_DUMPABLE, step->args[0].u) != 0)
		return step_failed(init, "prctl", "PR_SET_DUMPABLE");
	return 0;
}

int step_no_new_privileges(struct init *init, const struct step *step)
{
	(void)step;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return step_failed(init, "prctl", "PR_SET_NO_NEW_PRIVS");
	return 0;
}

int step_load_seccomp(struct init *init, const struct step *step)
{
	const struct bytes *bytes = &step->args[0].b;
	/* The plan's bytes lie anywhere, the kernel's type wants an even address. */
	static struct sock_filter filter[BPF_MAXINSNS];
	struct sock_fprog program = { .filter = filter };
	unsigned int flags = (unsigned int)step->args[1].l;

	if (bytes->length % sizeof(*filter) != 0 || bytes->length > sizeof(filter)) {
		errno = E2BIG;
		return step_failed(init, "seccomp", "the program");
	}
	memcpy(filter, bytes->data, bytes->length);
	program.len = (unsigned short)(bytes->length / sizeof(*filter));
	if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
		return load_with_listener(init, step, &program, flags);
	/* The filter may forbid it later. */
	if (become_like_program(init) != 0)
		return step_failed(init, "setrlimit", "");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) != 0)
		return step_failed(init, "seccomp", "the program");
	return 0;
}
