/* Options that are longer than fsconfig(2) takes (overlay's lowerdir, say) need mount(2), and that needs a path: one that
 * nobody else can exchange. */
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FSCONFIG_MAX_VALUE = 255 };
#define WORKPIECE "mount"

bool fits_fsconfig(const struct list *options)
{
	const char *cursor = options->data;

	for (uint32_t i = 0; i < options->count; i++) {
		const char *option = list_next(&cursor), *equals = strchr(option, '=');

		if (equals && strlen(equals + 1) > FSCONFIG_MAX_VALUE)
			return false;
	}
	return true;
}

/* The options joined by commas, as mount(2) takes them; to be freed. */
static char *join_options(const struct list *options)
{
	const char *cursor = options->data;
	size_t size = 1;
	char *joined, *end;

	for (uint32_t i = 0; i < options->count; i++)
		size += strlen(list_next(&cursor)) + 1;
	joined = end = malloc(size);
	if (joined == NULL)
		return NULL;
	*end = '\0';
	cursor = options->data;
	for (uint32_t i = 0; i < options->count; i++) {
		end = stpcpy(end, list_next(&cursor));
		*end++ = ',';
	}
	if (end > joined)
		end[-1] = '\0';
	return joined;
}

/* An empty filesystem of our own with a directory in it, mounted over the root, where no container looks for anything. */
static int make_workshop(struct init *init)
{
	int tree = -1, fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs >= 0 && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fs >= 0)
		close(fs);
	if (tree < 0 || mkdirat(tree, WORKPIECE, 0700) != 0)
		return step_failed(init, "fsmount", "tmpfs");
	return attach(init, tree, init->root, "/") == 0 ? tree : -1;
}

/* The upmost mount on the root is the workshop: umount(2) goes up to it, unlike others. */
static int leave_workshop(struct init *init)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int result = here < 0 || fchdir(init->root) != 0 || sys_umount2(".", MNT_DETACH) != 0 || fchdir(here) != 0;

	if (here >= 0)
		close(here);
	return result ? step_failed(init, "umount2", "/") : 0;
}

/* What was mounted in the workshop, as a tree that is attached nowhere. That it is one is looked at: in a mount namespace that
 * was joined /proc/self/fd, by which it was reached, can be anything. */
static int take_workpiece(struct init *init, const struct step *step, int workshop)
{
	int tree, mounted = openat(workshop, WORKPIECE, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat ours, theirs;

	if (mounted < 0 || fstat(mounted, &theirs) != 0 || fstat(workshop, &ours) != 0)
		return step_failed(init, "openat", step->args[0].s);
	if (ours.st_dev == theirs.st_dev) {
		errno = EXDEV;
		return step_failed(init, "mount", step->args[0].s);
	}
	tree = sys_open_tree(mounted, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	close(mounted);
	return tree >= 0 ? tree : step_failed(init, "open_tree", step->args[0].s);
}

int make_by_string(struct init *init, const struct step *step)
{
	char path[sizeof("/proc/self/fd//" WORKPIECE) + 10];
	char *data = join_options(&step->args[6].v);
	int result, tree, workshop = data ? make_workshop(init) : step_failed(init, "malloc", "the options");

	if (workshop < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/" WORKPIECE, workshop);
	result = sys_mount(step->args[1].s, path, step->args[0].s, 0, data);
	free(data);
	if (result != 0)
		return step_failed(init, "mount", step->args[0].s);
	tree = take_workpiece(init, step, workshop);
	close(workshop);
	if (tree < 0 || leave_workshop(init) != 0)
		return -1;
	if (!(step->args[5].u & MOUNT_COPY_UP) && set_attributes(init, tree, step->args[3].l, 0, 0, path) != 0)
		return -1;
	return tree;
}
