/* What the init tells the host side, and what it waits for. */
#include "init.h"
#include "syscalls.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

int send_message(int socket, const struct message *message, const struct init *init, const char *origin)
{
	const char *call = init->call ? init->call : "";
	struct iovec parts[] = {
		{ (void *)message, sizeof(*message) },
		{ (void *)call, strlen(call) + 1 },
		{ (void *)init->subject, strlen(init->subject) + 1 },
		{ (void *)origin, strlen(origin) + 1 },
	};
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 4 };

	return sendmsg(socket, &header, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

void report_failure(struct init *init, const struct step *step)
{
	struct message message = { MESSAGE_FAILED, step->number, init->error, init->value };

	if (init->conversation >= 0)
		send_message(init->conversation, &message, init, step->origin);
}

void warn(struct init *init, const struct step *step, const char *what, const char *subject, uint32_t value)
{
	struct message message = { MESSAGE_WARNING, step->number, 0, value };

	step_failed(init, what, subject);
	send_message(init->conversation, &message, init, step->origin);
}

bool go_ahead(int socket)
{
	char answer = 0;
	ssize_t length;

	do
		length = recv(socket, &answer, 1, 0);
	while (length < 0 && errno == EINTR);
	return length == 1 && answer == 'g';
}

/* *descriptor is what came along, or -1. */
static bool go_ahead_with(int socket, int *descriptor)
{
	char answer = 0;
	struct iovec part = { &answer, 1 };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)
	};
	struct cmsghdr *cmsg;
	ssize_t length;

	*descriptor = -1;
	do
		length = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length != 1 || answer != 'g')
		return false;
	cmsg = CMSG_FIRSTHDR(&header);
	if (cmsg != NULL && cmsg->cmsg_type == SCM_RIGHTS && cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(descriptor, CMSG_DATA(cmsg), sizeof(int));
	return true;
}

int receive_descriptor(int socket)
{
	int descriptor;

	/* The host side says nothing if it has failed: it knows better than we what to tell. */
	if (!go_ahead_with(socket, &descriptor)) {
		undo_all();
		_exit(125);
	}
	if (descriptor < 0)
		errno = EMFILE;
	return descriptor;
}

int say_and_wait(struct init *init, const struct step *step, enum message_kind kind, uint32_t value)
{
	struct message message = { kind, step->number, 0, value };

	/* When the host side is gone there is nobody to report to: it is dead, and so are we. */
	if (send_message(init->conversation, &message, init, step->origin) != 0 || !go_ahead(init->conversation))
		_exit(125);
	return 0;
}

int step_ask_host(struct init *init, const struct step *step)
{
	return say_and_wait(init, step, MESSAGE_ASK, step->args[0].u);
}

int step_ready(struct init *init, const struct step *step)
{
	bool keep = step->args[0].u;

	/* From here on the host side may leave. Should it die before it has written the state down, then go_ahead reads
	 * the end of the conversation; so no moment is without a guard. */
	prctl(PR_SET_PDEATHSIG, 0);
	say_and_wait(init, step, MESSAGE_READY, 0);
	if (!keep) {
		close(init->conversation);
		init->conversation = -1;
	}
	return 0;
}

int send_descriptor(struct init *init, const struct step *step, enum message_kind kind, int descriptor)
{
	struct message message = { kind, step->number, 0, 0 };
	struct iovec part = { &message, sizeof(message) };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &descriptor, sizeof(int));
	if (sendmsg(init->conversation, &header, MSG_NOSIGNAL) < 0)
		return -1;
	/* The host side says nothing if it has failed: it knows better than we what to tell. */
	if (!go_ahead(init->conversation))
		_exit(125);
	return 0;
}

static void end_by_signal(int number)
{
	_exit(128 + number);
}

/* A process with no handlers that is pid 1 of its namespace gets no signal from inside nor (but SIGKILL) from outside. A
 * created container must still obey `kill`, so the signals whose default is to end a process do so. */
static void obey_signals(void)
{
	static const int kept[] = { SIGKILL, SIGSTOP, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH };
	struct sigaction action = { .sa_handler = end_by_signal };

	for (int number = 1; number < NSIG; number++) {
		bool skip = false;

		for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
			skip |= kept[i] == number;
		if (!skip)
			sigaction(number, &action, NULL);
	}
}

int step_wait_start(struct init *init, const struct step *step)
{
	struct message starting = { MESSAGE_STARTING, step->number, 0, 0 };
	int listener = slot(init, step->args[0].f), memory;

	trace_stop(init);
	obey_signals();
	for (;;) {
		int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		memory = -1;
		if (connection < 0 && errno != EINTR && errno != ECONNABORTED)
			return step_failed(init, "accept4", "the start socket");
		/* `state` connects only to see whether we listen, and hangs up. */
		if (connection >= 0 && go_ahead_with(connection, &memory) &&
		    send_message(connection, &starting, init, "") == 0) {
			init->conversation = connection;
			if (memory >= 0)
				trace_into(init, memory);
			return 0;
		}
		if (memory >= 0)
			close(memory);
		if (connection >= 0)
			close(connection);
	}
}
