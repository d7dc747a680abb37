/* Options that fsconfig(2) doesn't take as they are. One that is longer than 255 bytes (overlay's lowerdir, say), or several in one
 * string, which the filesystem splits as it does for others, need mount(2), and that needs a path: one that nobody else can
 * exchange. More than a page of overlay's layers are set one by one. */
#include "mounts.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FSCONFIG_MAX_VALUE = 255 };
#define WORKPIECE "mount"

static bool has_several(const char *option)
{
	bool quoted = false;

	for (; *option; option++) {
		if (*option == '"')
			quoted = !quoted;
		else if (*option == ',' && !quoted)
			return true;
	}
	return false;
}

static bool fits_fsconfig(const char *option)
{
	const char *equals = strchr(option, '=');

	return !has_several(option) && (equals == NULL || strlen(equals + 1) <= FSCONFIG_MAX_VALUE);
}

/* How much mount(2) would be given, with the NUL at its end. */
static size_t joined_size(const struct list *options)
{
	const char *cursor = options->data;
	size_t size = 0;

	for (uint32_t i = 0; i < options->count; i++)
		size += strlen(list_next(&cursor)) + 1;
	return size;
}

static int too_long(struct init *init, size_t size)
{
	char text[128];

	snprintf(text, sizeof(text), "the options are %zu bytes long, and mount(2) takes %ld", size - 1,
		 sysconf(_SC_PAGESIZE) - 1);
	errno = E2BIG;
	return step_failed(init, "mount data", text);
}

enum option_way option_way(const char *type, const struct list *options)
{
	const char *cursor = options->data;
	bool fits = true;

	for (uint32_t i = 0; i < options->count; i++)
		fits &= fits_fsconfig(list_next(&cursor));
	if (fits)
		return BY_FSCONFIG;
	if (strcmp(type, "overlay") == 0 && joined_size(options) > (size_t)sysconf(_SC_PAGESIZE))
		return BY_LAYERS;
	return BY_MOUNT;
}

/* A path of any length; as a descriptor since Linux 6.13. */
static int set_path(struct init *init, int fs, const char *key, const char *path)
{
	int directory, result;

	if (strlen(path) <= FSCONFIG_MAX_VALUE) {
		result = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
		return result == 0 ? 0 : filesystem_failed(init, fs, "fsconfig", path);
	}
	directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return step_failed(init, "open", path);
	result = sys_fsconfig(fs, FSCONFIG_SET_FD, key, NULL, directory);
	if (result != 0)
		filesystem_failed(init, fs, "fsconfig", path);
	close(directory);
	return result;
}

/* The next of lowerdir's layers into `path`; the rest, null after the last. Colons and backslashes of a path are escaped. One that
 * is too long for the kernel stays so. */
static const char *next_layer(const char *layers, char path[PATH_MAX + 1])
{
	size_t length = 0;

	for (; *layers && *layers != ':'; layers++) {
		if (*layers == '\\' && layers[1])
			layers++;
		if (length < PATH_MAX)
			path[length++] = *layers;
	}
	path[length] = '\0';
	return *layers ? layers + 1 : NULL;
}

/* One by one, since Linux 6.7: Documentation/filesystems/overlayfs.rst. */
static int set_lower(struct init *init, int fs, const char *layers)
{
	const char *key = "lowerdir+";
	char path[PATH_MAX + 1];

	while (layers) {
		layers = next_layer(layers, path);
		/* After two colons come layers of data only. */
		if (*path == '\0')
			key = "datadir+";
		else if (set_path(init, fs, key, path) != 0)
			return -1;
	}
	return 0;
}

static int set_layers(struct init *init, int fs, const char *option)
{
	const char *value = strchr(option, '=') ? strchr(option, '=') + 1 : "";

	if (strncmp(option, "lowerdir=", 9) == 0)
		return set_lower(init, fs, value);
	if (strncmp(option, "upperdir=", 9) == 0)
		return set_path(init, fs, "upperdir", value);
	if (strncmp(option, "workdir=", 8) == 0)
		return set_path(init, fs, "workdir", value);
	return set_filesystem_option(init, fs, option);
}

/* An older kernel has mount(2) only. Before Linux 6.5 overlay gathered its options in a page, whatever they were. */
static bool takes_no_layers(const struct init *init)
{
	return init->error == EOPNOTSUPP || strstr(init->subject, "Unknown parameter 'lowerdir+'") ||
	       strstr(init->subject, "options too large");
}

int set_by_layers(struct init *init, int fs, const struct list *options)
{
	const char *cursor = options->data;

	for (uint32_t i = 0; i < options->count; i++) {
		if (set_layers(init, fs, list_next(&cursor)) == 0)
			continue;
		return takes_no_layers(init) ? too_long(init, joined_size(options)) : -1;
	}
	return 0;
}

/* `first` and the options joined by commas, as mount(2) takes them; to be freed. */
static char *join_options(struct init *init, const char *first, const struct list *options)
{
	size_t size = strlen(first) + (*first != '\0') + joined_size(options);
	const char *cursor = options->data;
	char *joined, *end;

	/* It would be cut off without a word, mount(2). */
	if (size > (size_t)sysconf(_SC_PAGESIZE)) {
		too_long(init, size);
		return NULL;
	}
	joined = end = malloc(size);
	if (joined == NULL) {
		step_failed(init, "malloc", "the options");
		return NULL;
	}
	end = stpcpy(end, first);
	if (*first)
		*end++ = ',';
	for (uint32_t i = 0; i < options->count; i++) {
		end = stpcpy(end, list_next(&cursor));
		*end++ = ',';
	}
	end[-1] = '\0';
	return joined;
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

int make_by_mount(struct init *init, const struct step *step, const char *mode)
{
	char path[sizeof("/proc/self/fd//" WORKPIECE) + 10];
	char *data = join_options(init, mode, &step->args[6].v);
	int result, tree, workshop, place = data ? workshop_place(init) : -1;

	if (data == NULL)
		return -1;
	workshop = place < 0 ? step_failed(init, "open", "/") : make_workshop(init, place);
	if (workshop >= 0 && mkdirat(workshop, WORKPIECE, 0700) != 0)
		workshop = step_failed(init, "mkdirat", "/");
	if (workshop < 0) {
		free(data);
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d/" WORKPIECE, workshop);
	result = sys_mount(step->args[1].s, path, step->args[0].s, 0, data);
	free(data);
	if (result != 0)
		return step_failed(init, "mount", step->args[0].s);
	tree = take_workpiece(init, step, workshop);
	close(workshop);
	if (tree < 0 || leave_workshop(init, place) != 0)
		return -1;
	close(place);
	if (!(step->args[5].u & MOUNT_COPY_UP) && set_attributes(init, tree, step->args[3].l, 0, 0, path) != 0)
		return -1;
	return tree;
}
