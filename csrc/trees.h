/* Mount trees that the host side makes for a container. Each returns -1 and sets errno if it fails. */
#pragma once

#include <stdint.h>

/* A detached clone of what is at `source`. Unless it is to be a peer, nothing that is mounted in it reaches the host. */
int tree_open(const char *source, int recursive, int follow, int peer);

/* Bind a tree to a directory, recursively and private. */
int tree_bind(const char *source, const char *target);

/* Change the attributes of a tree, mount_setattr(2). */
int tree_set_attributes(int tree, uint64_t set, uint64_t clear, int recursive);

/* Map the ids of a tree by a user namespace, mount_setattr(2). */
int tree_idmap(int tree, int recursive, int user_namespace);

/* A descriptor of a user namespace with these maps ("inside outside count" lines). */
int user_namespace_with(const char *uid_map, const char *gid_map);
