/* A window into another network namespace. */
#pragma once

/* A routing socket (rtnetlink(7)) of that namespace; -1 and errno. */
int netlink_open(int network_namespace);
