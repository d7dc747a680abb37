/* Filters that ask an agent (SCMP_ACT_NOTIFY), seccomp_unotify(2). */
#pragma once

#include "init.h"

#include <linux/filter.h>

/* Load the program, and hand its listener to the host side. 0, or -1 with the failure noted. */
int load_with_listener(struct init *init, const struct step *step, const struct sock_fprog *program,
		       unsigned int flags);
