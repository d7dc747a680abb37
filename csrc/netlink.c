#include "netlink.h"
#include "visit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket belongs for ever to the namespace that it was made in, so this thread is there for one call only. */
int netlink_open(int network_namespace)
{
	int made = -1, error, ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (ours < 0)
		return -1;
	if (setns(network_namespace, CLONE_NEWNET) == 0) {
		made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		error = errno;
		return_to_own(ours, CLONE_NEWNET);
		errno = error;
	}
	error = errno;
	close(ours);
	errno = error;
	return made;
}
