/* What the files of the mount family share. */
#pragma once

#include "init.h"

#include <linux/mount.h>
#include <sys/stat.h>

/* The flags of the steps `mount` and `bind`, as pyoci/plan/mount_options.py has them. */
enum {
	BIND_RECURSIVE = 1,
	MOUNT_ORDINARY_DIRECTORY = 2, /* the target is not to be a symlink */
	MOUNT_INHERIT_MODE = 4,	      /* the new root gets the permissions of the directory that it covers */
	MOUNT_FROM_HOST = 8,	      /* the host side makes the tree */
	MOUNT_IDMAP = 16,	      /* the host side has the user namespace that maps the ids */
	MOUNT_COPY_UP = 32,	      /* what the directory holds is copied into the new filesystem */
	BIND_NO_FOLLOW = 64,	      /* the source is not to be a symlink */
	MOUNT_IN_PROC = 128,	      /* one of the files in /proc that may be covered */
	BIND_HAS_ATTRIBUTES = 256,    /* the host side sets the attributes of the tree that it makes */
	MOUNT_ON_SYMLINK = 512,	      /* a symlink at the target's end is not followed */
	BIND_COPY_SYMLINK = 1024,     /* a source that is a symlink is made again, not bound */
	MOUNT_INHERIT_UID = 2048,     /* of what is copied up: the new root gets the owner of the directory, */
	MOUNT_INHERIT_GID = 4096,     /* and its group */
};

/* In a step's propagation: it applies to the mounts below, too. */
static const uint64_t PROPAGATION_RECURSIVE = MS_REC;

/* targets.c; each notes its failure and returns -1. */
/* made (may be null): whether the target was missing. */
int open_mount_target(struct init *init, const char *path, uint32_t flags, bool is_directory, bool *made);
int attach(struct init *init, int tree, int target, const char *subject);
/* The same in the container. What is attached to its root is its root from then on. */
int attach_inside(struct init *init, int tree, int target, const char *subject);
/* Whether the descriptor is the container's root. */
bool is_root(const struct init *init, int fd);
/* The same where not everything may be attached everywhere: of the user's mounts nothing in /proc. */
int attach_mount(struct init *init, int tree, int target, uint32_t flags, const char *path);
/* Whether it is the root of a procfs. */
bool is_whole_procfs(int tree);
/* Whether a path that doesn't say so has led into a procfs or sysfs: a symlink was put on the way, and what lies there hides things. */
bool is_in_disguise(int fd, const char *path);
/* A path to hide: O_PATH; in /proc and /sys only what was mounted there. */
int open_to_hide(const struct init *init, const char *path);

/* mounts.c, too. */
int set_attributes(struct init *init, int tree, uint64_t set, uint64_t clear, unsigned int recursive,
		   const char *subject);
int set_propagation(struct init *init, int tree, uint64_t propagation, const char *subject);
int filesystem_failed(struct init *init, int fs, const char *call, const char *subject);
int set_filesystem_option(struct init *init, int fs, const char *option);
int set_options(struct init *init, int fs, const struct list *options);

/* long_options.c: which call a filesystem's options are for. */
enum option_way { BY_FSCONFIG, BY_MOUNT, BY_LAYERS };
enum option_way option_way(const char *type, const struct list *options);
/* The detached mount of a mount step by mount(2), or -1. mode: an option that the others may overrule, or "". */
int make_by_mount(struct init *init, const struct step *step, const char *mode);
/* Options of overlay's that are longer than mount(2) takes. */
int set_by_layers(struct init *init, int fs, const struct list *options);

/* workshop.c: an empty filesystem, writable, attached for a moment to a place that no path leads over. A descriptor, or -1. */
int workshop_place(const struct init *init);
int make_workshop(struct init *init, int place);
int leave_workshop(struct init *init, int place);

/* binds.c: a descriptor that the host side has for this step, -1 if it sends none. */
int fetch(struct init *init, const struct step *step);

/* binds.c: map the ids of a detached mount by the user namespace that the host side has for this step. */
int idmap(struct init *init, const struct step *step, int tree, unsigned int recursive);

/* copyup.c: copy what is in a directory to another, with all that belongs to it. Sets errno.
 * root: owner and mode for the other directory itself. */
int copy_up(int from, int to, const struct stat *root);
