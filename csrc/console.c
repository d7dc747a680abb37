/* The terminal of a container: a pty of the container's own devpts. */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static bool is_devpts(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC;
}

/* The slave is opened through the master (TIOCGPTPEER), not by its path: what lies at /dev/pts/N can be exchanged
 * (CVE-2025-52565). */
static int open_slave(int master)
{
	int unlock = 0;

	if (ioctl(master, TIOCSPTLCK, &unlock) != 0)
		return -1;
	return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static int bind_console(struct init *init, int slave)
{
	int target, tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (tree < 0)
		return step_failed(init, "open_tree", "/dev/console");
	target = open_or_make(init, "/dev/console", 0755, false);
	if (target < 0)
		return step_failed(init, "openat2", "/dev/console");
	if (attach_mount(init, tree, target, 0, "/dev/console") != 0)
		return -1;
	close(target);
	close(tree);
	return 0;
}

/* What lies at the path is looked at before it is opened: anything else than a devpts could be a device of the image's, and some
 * do something when they are opened. */
static int open_master(struct init *init)
{
	int master, place;

	/* In a container that we have joined its root is ours. */
	if (init->root < 0 && (init->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return step_failed(init, "open", "/");
	place = open_in_root(init, "/dev/pts/ptmx", O_PATH, 0);
	if (place < 0)
		return step_failed(init, "openat2", "/dev/pts/ptmx");
	if (!is_devpts(place)) {
		close(place);
		errno = ENODEV;
		return step_failed(init, "openat2", "/dev/pts/ptmx");
	}
	master = reopen(init, place, O_RDWR | O_NOCTTY);
	close(place);
	return master < 0 ? step_failed(init, "open", "/dev/pts/ptmx") : master;
}

int step_open_console(struct init *init, const struct step *step)
{
	struct winsize size = { .ws_row = (unsigned short)step->args[0].u, .ws_col = (unsigned short)step->args[1].u };
	int slave, master = open_master(init);

	if (master < 0)
		return -1;
	slave = open_slave(master);
	if (slave < 0)
		return step_failed(init, "ioctl", "/dev/pts/ptmx");
	if (size.ws_row && size.ws_col && ioctl(slave, TIOCSWINSZ, &size) != 0)
		return step_failed(init, "ioctl", "the terminal's size");
	if (step->args[2].u && bind_console(init, slave) != 0)
		return -1;
	if (send_descriptor(init, step, MESSAGE_CONSOLE, master) != 0)
		return step_failed(init, "sendmsg", "the terminal");
	close(master);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) != fd)
			return step_failed(init, "dup2", "the terminal");
	if (ioctl(0, TIOCSCTTY, 0) != 0)
		return step_failed(init, "ioctl", "the controlling terminal");
	return 0;
}
