/* A place of our own for what can be made only where something is attached: mount(2) needs a path, and before Linux 6.15
 * open_tree(2) takes nothing from a tree that is attached nowhere. */
#include "init.h"
#include "mounts.h"
#include "syscalls.h"

#include <fcntl.h>

/* Where no path leads over: a layer may well be in the root filesystem. In a mount namespace of our own that is the host's root,
 * where paths begin; elsewhere others would see it there. */
int workshop_place(const struct init *init)
{
	return init->root_shared || init->root_path == NULL ? fcntl(init->root, F_DUPFD_CLOEXEC, 0) :
							      open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int make_workshop(struct init *init, int place)
{
	int tree = -1, fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs >= 0 && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fs >= 0)
		close(fs);
	if (tree < 0)
		return step_failed(init, "fsmount", "tmpfs");
	return attach(init, tree, place, "/") == 0 ? tree : -1;
}

/* The upmost mount on the place is the workshop: umount(2) goes up to it, unlike others. */
int leave_workshop(struct init *init, int place)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int result = here < 0 || fchdir(place) != 0 || sys_umount2(".", MNT_DETACH) != 0 || fchdir(here) != 0;

	if (here >= 0)
		close(here);
	return result ? step_failed(init, "umount2", "/") : 0;
}
