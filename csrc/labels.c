/* Security labels, and the session keyring, which carries one. */
#include "init.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_and_close(struct init *init, int fd, const char *value)
{
	int error = write(fd, value, strlen(value)) == (ssize_t)strlen(value) ? 0 : errno;

	close(fd);
	errno = error;
	return error == 0 ? 0 : step_failed(init, "write attr", value);
}

/* By the host's procfs, held open since before any namespace was entered: nothing that the container mounts over its own
 * can get in the way (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). */
static int write_attribute(struct init *init, const char *path, const char *value)
{
	int fd = open_own_file(init, path, O_WRONLY);

	return fd < 0 ? step_failed(init, "open", path) : write_and_close(init, fd, value);
}

/* Long before it is written: the host's procfs is not held until then. Only the process that opened it can write. */
int step_open_label(struct init *init, const struct step *step)
{
	const char *path = step->args[1].s;
	int fd = open_own_file(init, path, O_WRONLY);

	/* The directory of AppArmor's own is newer than AppArmor: Linux 5.1. */
	if (fd < 0 && errno == ENOENT)
		fd = open_own_file(init, path = "self/attr/exec", O_WRONLY);
	if (fd < 0)
		return step_failed(init, "open", path);
	init->labels[step->args[0].u % 2] = fd;
	return 0;
}

int step_set_label(struct init *init, const struct step *step)
{
	int fd = init->labels[step->args[0].u % 2];

	init->labels[step->args[0].u % 2] = -1;
	return write_and_close(init, fd, step->args[1].s);
}

static long keyctl(int operation, unsigned long a, unsigned long b, unsigned long c)
{
	return syscall(SYS_keyctl, operation, a, b, c, 0UL);
}

/* The owner may search it, whoever that will be: the keyring is made by root, the program may be somebody else's. */
static int make_searchable(long keyring)
{
	static const unsigned long user_search = 0x00080000; /* KEY_USR_SEARCH */
	char description[512];
	long length = keyctl(KEYCTL_DESCRIBE, (unsigned long)keyring, (unsigned long)description,
			     sizeof(description) - 1);
	char *field = description;

	if (length < 0)
		return -1;
	description[sizeof(description) - 1] = '\0';
	/* type;uid;gid;permissions;name, keyctl(2) */
	for (int i = 0; i < 3 && field; i++)
		field = strchr(field + 1, ';');
	if (field == NULL) {
		errno = EINVAL;
		return -1;
	}
	return (int)keyctl(KEYCTL_SETPERM, (unsigned long)keyring, strtoul(field + 1, NULL, 16) | user_search, 0);
}

int step_join_keyring(struct init *init, const struct step *step)
{
	const char *name = step->args[0].s, *label = step->args[1].s;
	long keyring;

	if (*label && write_attribute(init, "self/attr/keycreate", label) != 0)
		return -1;
	keyring = keyctl(KEYCTL_JOIN_SESSION_KEYRING, (unsigned long)name, 0, 0);
	/* A kernel without keys. */
	if (keyring < 0 && errno == ENOSYS)
		return 0;
	if (keyring < 0 || make_searchable(keyring) != 0)
		return step_failed(init, "keyctl", name);
	return *label ? write_attribute(init, "self/attr/keycreate", "") : 0;
}
