#include "init.h"
#include "syscalls.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <string.h>

int step_join_namespace(struct init *init, const struct step *step)
{
	int namespace = slot(init, step->args[0].f);

	/* The kernel refuses a namespace of another type than the one named: EINVAL, setns(2). */
	if (setns(namespace, (int)step->args[1].u) != 0)
		return step_failed(init, "setns", step->args[2].s);
	close(namespace);
	return 0;
}

int step_unshare(struct init *init, const struct step *step)
{
	if (unshare((int)step->args[0].u) != 0)
		return step_failed(init, "unshare", "new namespaces");
	return 0;
}

int step_set_hostname(struct init *init, const struct step *step)
{
	if (sethostname(step->args[0].s, strlen(step->args[0].s)) != 0)
		return step_failed(init, "sethostname", step->args[0].s);
	return 0;
}

int step_set_domainname(struct init *init, const struct step *step)
{
	if (setdomainname(step->args[0].s, strlen(step->args[0].s)) != 0)
		return step_failed(init, "setdomainname", step->args[0].s);
	return 0;
}

/* A procfs that nobody has mounted anything on: what is written there can't be led elsewhere (CVE-2025-52881). */
static int private_proc(struct init *init)
{
	int fs;

	if (init->proc >= 0)
		return init->proc;
	fs = sys_fsopen("proc", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		init->proc = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	close(fs);
	return init->proc;
}

int step_set_sysctl(struct init *init, const struct step *step)
{
	const char *name = step->args[0].s, *value = step->args[1].s;
	int proc = private_proc(init), directory = -1, fd = -1;
	bool written;

	if (proc < 0)
		return step_failed(init, "fsopen", "proc");
	directory = sys_openat2(proc, "sys", O_PATH | O_CLOEXEC, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	if (directory >= 0)
		fd = sys_openat2(directory, name, O_WRONLY | O_CLOEXEC,
				 RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return step_failed(init, "openat2", name);
	written = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	if (!written)
		step_failed(init, "write", name);
	close(fd);
	close(directory);
	return written ? 0 : -1;
}

int step_assume_root(struct init *init, const struct step *step)
{
	(void)step;
	if (setresgid(0, 0, 0) != 0)
		return step_failed(init, "setresgid", "0");
	if (setresuid(0, 0, 0) != 0)
		return step_failed(init, "setresuid", "0");
	return 0;
}
