#include "listener.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOT_YET = -1, FAILED = -2, STACK_ROOM = 64 * 1024 };

struct handover {
	struct init *init;
	const struct step *step;
	atomic_int listener; /* NOT_YET, FAILED or the descriptor */
	atomic_int error;    /* of handing it over; NOT_YET until that is done */
};

static void *hand_over(void *argument)
{
	struct handover *handover = argument;
	int listener, error;

	while ((listener = atomic_load(&handover->listener)) == NOT_YET)
		usleep(50);
	if (listener == FAILED)
		return NULL;
	/* The limits, too, which have to leave room for the listener and may be forbidden by the filter. */
	error = send_descriptor(handover->init, handover->step, MESSAGE_LISTENER, listener) ? errno : 0;
	/* If the agent ends, a call must fail, not wait for ever: a hook may make one while we live. */
	close(listener);
	if (error == 0 && become_like_program(handover->init) != 0)
		error = errno;
	atomic_store(&handover->error, error);
	return NULL;
}

/* Until the agent has the listener, each call that the filter asks about waits for ever; sendmsg(2) may be one. So a second
 * thread, which the filter doesn't bind, sends it, and this one makes no call at all before that is done. */
static int wait_without_calls(struct handover *handover)
{
	int error;

	while ((error = atomic_load(&handover->error)) == NOT_YET)
#if defined(__x86_64__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ volatile("yield");
#else
		;
#endif
	return error;
}

/* The least that a thread needs depends on the machine; on arm64 it is 128 KiB. */
static int start_thread(struct handover *handover)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error = pthread_attr_init(&attributes);

	if (error == 0)
		error = pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN) + STACK_ROOM);
	if (error == 0)
		error = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (error == 0)
		error = pthread_create(&thread, &attributes, hand_over, handover);
	return error;
}

int load_with_listener(struct init *init, const struct step *step, const struct sock_fprog *program, unsigned int flags)
{
	/* Not on the stack: the thread may look at it after we have returned. */
	static struct handover handover;
	int listener, error;

	handover = (struct handover){ init, step, NOT_YET, NOT_YET };
	error = start_thread(&handover);

	if (error != 0) {
		errno = error;
		return step_failed(init, "pthread_create", "the thread that hands over the listener");
	}
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
	if (listener < 0) {
		step_failed(init, "seccomp", "the program");
		atomic_store(&handover.listener, FAILED);
		return -1;
	}
	/* Close-on-exec: seccomp(2). From here on the filter decides about every call of this thread. */
	atomic_store(&handover.listener, listener);
	error = wait_without_calls(&handover);
	if (error != 0) {
		errno = error;
		return step_failed(init, "sendmsg", "the listener");
	}
	return 0;
}
