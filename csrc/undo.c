/* Takes back what was done in a container that goes on (`mounts add`): what was attached, changed and made, the last first. */
#include "undo.h"
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000 /* Linux 5.10; the C library may not have it yet */
#endif

enum deed { ATTACHED, CHANGED, MADE };

static struct note {
	enum deed deed;
	int fd;		     /* the mount, or the directory that it was made in */
	uint64_t attributes; /* those of before */
	char *name;	     /* of what was made */
	struct note *earlier;
} *notes;
static bool taking_notes;
static int proc = -1; /* the host's: it is not the container's word that says which mount a descriptor is */

static const struct {
	unsigned long flag;
	uint64_t attribute;
} attributes[] = {
	{ ST_RDONLY, MOUNT_ATTR_RDONLY },	  { ST_NOSUID, MOUNT_ATTR_NOSUID },
	{ ST_NODEV, MOUNT_ATTR_NODEV },		  { ST_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ ST_NODIRATIME, MOUNT_ATTR_NODIRATIME }, { ST_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	{ ST_NOATIME, MOUNT_ATTR_NOATIME },
};
enum { ATTRIBUTES = sizeof(attributes) / sizeof(*attributes) };

int step_note_changes(struct init *init, const struct step *step)
{
	(void)step;
	taking_notes = true;
	proc = init->host_proc;
	return 0;
}

/* Sets errno. */
static struct note *note(enum deed deed, int fd)
{
	struct note *new = calloc(1, sizeof(*new));

	if (new == NULL)
		return NULL;
	new->deed = deed;
	new->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (new->fd < 0) {
		free(new);
		return NULL;
	}
	new->earlier = notes;
	notes = new;
	return new;
}

int undo_note_attached(int mount)
{
	return !taking_notes || note(ATTACHED, mount) ? 0 : -1;
}

int undo_note_made(int parent, const char *name)
{
	struct note *new;

	if (!taking_notes)
		return 0;
	new = note(MADE, parent);
	if (new != NULL)
		new->name = strdup(name);
	return new != NULL && new->name != NULL ? 0 : -1;
}

int undo_note_changing(int mount)
{
	struct statvfs fs;
	struct note *new;

	if (!taking_notes)
		return 0;
	if (fstatvfs(mount, &fs) != 0 || (new = note(CHANGED, mount)) == NULL)
		return -1;
	for (int i = 0; i < ATTRIBUTES; i++)
		if (attributes[i].flag & fs.f_flag)
			new->attributes |= attributes[i].attribute;
	/* Without any of these the access time is always written. */
	if (!(fs.f_flag & (ST_NOATIME | ST_RELATIME)))
		new->attributes |= MOUNT_ATTR_STRICTATIME;
	return 0;
}

static void detach(int mount)
{
	char path[sizeof("self/fd/2147483647")];

	snprintf(path, sizeof(path), "self/fd/%d", mount);
	if (fchdir(proc) == 0)
		sys_umount2(path, MNT_DETACH);
}

static void change_back(int mount, uint64_t set)
{
	uint64_t clear = MOUNT_ATTR__ATIME;

	for (int i = 0; i < ATTRIBUTES; i++)
		clear |= attributes[i].attribute;
	sys_mount_setattr(mount, "", AT_EMPTY_PATH, set, clear & (~set | MOUNT_ATTR__ATIME), 0);
}

void undo_all(void)
{
	for (; notes != NULL; notes = notes->earlier) {
		if (notes->deed == ATTACHED)
			detach(notes->fd);
		else if (notes->deed == CHANGED)
			change_back(notes->fd, notes->attributes);
		else if (notes->name != NULL && unlinkat(notes->fd, notes->name, 0) != 0)
			unlinkat(notes->fd, notes->name, AT_REMOVEDIR);
		close(notes->fd);
	}
}
