#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { JOIN_IF_ALLOWED = 1 };

/* setns(2) refuses the user namespace that we are in. */
static bool is_own_user_namespace(struct init *init, int namespace)
{
	struct stat theirs, ours;
	int fd = open_own_file(init, "self/ns/user", O_RDONLY);
	bool same = fd >= 0 && fstat(fd, &ours) == 0 && fstat(namespace, &theirs) == 0 &&
		    ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;

	if (fd >= 0)
		close(fd);
	return same;
}

/* A namespace that belongs to the host's user namespace can be joined before we enter the container's own, one that belongs to
 * that after it: so each is tried before, if there is a user namespace, and those that are left after. */
int step_join_namespace(struct init *init, const struct step *step)
{
	int namespace = slot(init, step->args[0].f);
	uint32_t type = step->args[1].u;

	if (init->joined & type)
		return 0;
	/* The kernel refuses a namespace of another type than the one named: EINVAL, setns(2). */
	if (setns(namespace, (int)type) != 0) {
		int error = errno;

		if (error == EPERM && step->args[3].u == JOIN_IF_ALLOWED)
			return 0;
		if (type == CLONE_NEWUSER && is_own_user_namespace(init, namespace))
			return 0;
		errno = error;
		return step_failed(init, "setns", step->args[2].s);
	}
	init->joined |= type;
	close(namespace);
	return type == CLONE_NEWUSER ? keep_death_signal(init) : 0;
}

/* All at once, so that the kernel looks at our privileges before we enter the user namespace: setns(2), "pidfd". */
int step_enter_namespaces(struct init *init, const struct step *step)
{
	uint32_t types = step->args[1].u;

	if (setns(slot(init, step->args[0].f), (int)types) != 0)
		return step_failed(init, "setns", "the container's namespaces");
	return types & CLONE_NEWUSER ? keep_death_signal(init) : 0;
}

int step_enter_root(struct init *init, const struct step *step)
{
	if (fchdir(slot(init, step->args[0].f)) != 0 || chroot(".") != 0)
		return step_failed(init, "chroot", "the container's root");
	return 0;
}

int step_hold_root(struct init *init, const struct step *step)
{
	(void)step;
	init->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return init->root < 0 ? step_failed(init, "open", "/") : 0;
}

int step_unshare(struct init *init, const struct step *step)
{
	if (unshare((int)step->args[0].u) != 0)
		return step_failed(init, "unshare", "new namespaces");
	return 0;
}

/* Any socket will do for that, netdevice(7): a kernel may be without IPv4. */
int step_bring_up_loopback(struct init *init, const struct step *step)
{
	struct ifreq request = { .ifr_name = "lo" };
	int error, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;

	(void)step;
	request.ifr_flags |= IFF_UP;
	up = up && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return up ? 0 : step_failed(init, "ioctl", "the network device lo");
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
int private_proc(struct init *init)
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
