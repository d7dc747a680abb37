#include "visit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void return_to_own(int own, int type)
{
	if (setns(own, type) == 0)
		return;
	dprintf(2,
		"pyoci: can't return to its own namespace: %s (setns)\n"
		"hint: `delete --force` removes what is there of the container\n",
		strerror(errno));
	_exit(125);
}
