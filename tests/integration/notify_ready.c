/* sd_notify(3) without a library: sends its arguments, one datagram each, to $NOTIFY_SOCKET; with $FLOOD again and again,
 * from a few processes at once. Then it sleeps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET"), *seconds = getenv("SLEEP");
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), flood = getenv("FLOOD") != NULL;

	if (fd < 0 || path == NULL || strlen(path) >= sizeof(address.sun_path))
		return 1;
	strcpy(address.sun_path, path);
	for (int i = 0; flood && i < 4 && fork() != 0;)
		i++;
	do
		/* Once it is ready nobody need be there to listen: `start` has ended. */
		for (int i = 1; i < argc; i++)
			if (sendto(fd, argv[i], strlen(argv[i]), flood ? MSG_DONTWAIT : 0, (struct sockaddr *)&address,
				   sizeof(address)) < 0 &&
			    errno != ECONNREFUSED && errno != EAGAIN)
				return 2;
	while (flood);
	sleep(seconds ? (unsigned int)strtoul(seconds, NULL, 10) : 0);
	return 0;
}
