/* Devices that the host side makes for a container in a user namespace, where mknod(2) is refused. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct node {
	uint32_t mode, major, minor;
	uint32_t uid, gid; /* as we see them */
	int tree;	   /* out: a detached mount of the device */
};

/* Make them in a tmpfs that nobody else sees. All of them or none: -1 and errno. */
int nodes_make(struct node *nodes, size_t count);
