#include "spawn.h"
#include "init.h"
#include "caller.h"
#include "syscalls.h"
#include "visit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { STACK_SIZE = 64 * 1024 };

struct child {
	const struct spawn_request *request;
	const char *call; /* the failure, which the parent sees when it shares its memory */
	int error;
	char first_descriptor[12];
};

/* clone3(2) on a stack of its own: the child may share our memory (as vfork(2)'s does), so it must not return into our
 * frames. There is no C library function for it. */
static long clone3_call(struct clone_args *args, int (*function)(void *), void *argument)
{
#if defined(__x86_64__)
	register long result __asm__("rax") = SYS_clone3;
	register struct clone_args *a __asm__("rdi") = args;
	register size_t size __asm__("rsi") = sizeof(*args);
	register int (*f)(void *) __asm__("r8") = function;
	register void *x __asm__("r9") = argument;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r9, %%rdi\n\t"
			 "call *%%r8\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov %[exit], %%eax\n\t"
			 "syscall\n\t"
			 "1:"
			 : "+r"(result)
			 : "r"(a), "r"(size), "r"(f), "r"(x), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory", "cc");
	return result;
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_clone3;
	register long result __asm__("x0") = (long)args;
	register size_t size __asm__("x1") = sizeof(*args);
	register int (*f)(void *) __asm__("x20") = function;
	register void *x __asm__("x21") = argument;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, #0\n\t"
			 "mov x0, x21\n\t"
			 "blr x20\n\t"
			 "mov x8, %[exit]\n\t"
			 "svc #0\n\t"
			 "1:"
			 : "+r"(result)
			 : "r"(number), "r"(size), "r"(f), "r"(x), [exit] "i"(SYS_exit)
			 : "x30", "memory", "cc");
	return result;
#else
#error "clone3_call: this architecture is not known yet"
#endif
}

/* Without user namespaces the child shares our memory until it executes: nothing of Python is copied, nothing of it is
 * charged to the container's cgroup. The maps of a user namespace must be written by us while the child waits, so we
 * can't be suspended then. */
static bool can_share_memory(const struct spawn_request *request)
{
	return request->gate < 0;
}

static int child_failed(struct child *child, const char *call)
{
	struct message message = { .kind = MESSAGE_FAILED, .step = UINT32_MAX, .error = errno };
	struct iovec parts[] = { { &message, sizeof(message) }, { (void *)call, strlen(call) + 1 }, { "\0", 2 } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 3 };

	child->call = call;
	child->error = errno;
	if (!can_share_memory(child->request))
		sendmsg(child->request->slots[SLOT_CONVERSATION], &header, MSG_NOSIGNAL);
	return 127;
}

/* Slot i becomes descriptor first + i. In two passes: the numbers of now and of then may overlap. */
static int arrange_descriptors(const struct spawn_request *request)
{
	int above = request->first_descriptor + (int)request->slot_count;
	int moved[PLAN_MAX_SLOTS];

	for (size_t i = 0; i < request->slot_count; i++)
		if ((moved[i] = fcntl(request->slots[i], F_DUPFD_CLOEXEC, above)) < 0)
			return -1;
	for (size_t i = 0; i < request->slot_count; i++)
		if (dup2(moved[i], request->first_descriptor + (int)i) < 0)
			return -1;
	return 0;
}

static int child_main(void *argument)
{
	struct child *child = argument;
	const struct spawn_request *request = child->request;
	char *argv[] = { "pyoci-init", child->first_descriptor, (char *)request->name, NULL };
	char *envp[] = { NULL };
	int program;
	char go;

	/* If the host side dies, so does this. The init looks once more whether it wasn't too late for that. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return child_failed(child, "prctl");
	if (request->gate >= 0 && read(request->gate, &go, 1) != 1)
		return 127;
	program = fcntl(request->program, F_DUPFD_CLOEXEC,
			request->first_descriptor + 2 * (int)request->slot_count + 1);
	if (program < 0 || arrange_descriptors(request) != 0)
		return child_failed(child, "fcntl");
	if (caller_become() != 0)
		return child_failed(child, "setrlimit");
	sys_execveat(program, "", argv, envp, AT_EMPTY_PATH);
	return child_failed(child, "execveat");
}

static long clone_init(const struct spawn_request *request, struct child *child, char *stack, int *pidfd)
{
	struct clone_args args = {
		.flags = request->namespaces | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.stack = (uint64_t)(uintptr_t)stack,
		.stack_size = STACK_SIZE,
	};

	if (can_share_memory(request))
		args.flags |= CLONE_VM | CLONE_VFORK;
	if (request->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned int)request->cgroup;
	}
	return clone3_call(&args, child_main, child);
}

/* Children of this process are born in the pid namespace that was joined; then put it back for those that follow. Where it
 * can't be, the child ends with us. */
static long clone_in_pid_namespace(const struct spawn_request *request, struct child *child, char *stack, int *pidfd,
				   const char **call)
{
	int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), error;
	long pid = -1;

	*call = "setns";
	if (own >= 0 && setns(request->pid_namespace, CLONE_NEWPID) == 0) {
		*call = "clone3";
		pid = clone_init(request, child, stack, pidfd);
		error = pid < 0 ? (int)-pid : 0;
		return_to_own(own, CLONE_NEWPID);
		errno = error;
	}
	error = errno;
	if (own >= 0)
		close(own);
	return pid < 0 && error ? -error : pid;
}

static int spawn_on_stack(const struct spawn_request *request, struct child *child, char *stack, pid_t *pid, int *pidfd,
			  const char **call)
{
	sigset_t all, before;
	long result;

	/* A handler of ours must not run in the child, on memory that is still ours. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	*call = "clone3";
	result = request->pid_namespace >= 0 ? clone_in_pid_namespace(request, child, stack, pidfd, call) :
					       clone_init(request, child, stack, pidfd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	*pid = (pid_t)result;
	if (child->call == NULL)
		return 0;
	*call = child->call;
	close(*pidfd);
	waitpid(*pid, NULL, 0);
	errno = child->error;
	return -1;
}

int spawn_init(const struct spawn_request *request, pid_t *pid, int *pidfd, const char **call)
{
	struct child child = { .request = request };
	char *stack;
	int result, error;

	if (request->slot_count > PLAN_MAX_SLOTS) {
		*call = "fcntl";
		errno = E2BIG;
		return -1;
	}
	stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED) {
		*call = "mmap";
		return -1;
	}
	snprintf(child.first_descriptor, sizeof(child.first_descriptor), "%d", request->first_descriptor);
	result = spawn_on_stack(request, &child, stack, pid, pidfd, call);
	error = errno;
	munmap(stack, STACK_SIZE);
	errno = error;
	return result;
}

int become_subreaper(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
