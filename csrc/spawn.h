/* Starting pyoci-init in its namespaces. Part of the host side. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn_request {
	uint64_t namespaces;  /* CLONE_NEW*: those to be made */
	int program;	      /* pyoci-init, sealed; see seal.c */
	int pid_namespace;    /* to be joined, or -1 */
	int cgroup;	      /* a v2 directory to be born in, or -1 */
	int first_descriptor; /* the number that slot 0 gets in the init */
	const int *slots;
	size_t slot_count;
	const char *name; /* shown as the init's argument */
	int gate; /* the child waits for a byte from here before it goes on (its id maps are written); -1: it doesn't */
};

/* Start it: 0, with the pid (as the caller sees it) and a pidfd, or -1 with errno and *call naming what failed. */
/* Processes that lose their parent below this one become its children. */
int become_subreaper(void);

int spawn_init(const struct spawn_request *request, pid_t *pid, int *pidfd, const char **call);
