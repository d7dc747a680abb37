/* pyoci-init: the container side of pyoci. It executes a plan and becomes the user's program. */
#pragma once

#include "plan.h"
#include "trace.h"

#include <sys/types.h>

/* The first two slots of every plan. */
enum { SLOT_PLAN, SLOT_CONVERSATION, SLOT_FIRST_FREE };

/* What the two sides say to each other: one SOCK_SEQPACKET message each.
 * To the host:   struct message, then `call`, `subject` and `origin`, each with its NUL.
 * To the init:   one byte, 'g': go on. */
enum message_kind {
	MESSAGE_ASK = 1,   /* value: how far we are (enum stage) */
	MESSAGE_READY = 2, /* the container is created */
	MESSAGE_FAILED = 3,
	MESSAGE_CONSOLE = 4,  /* with the terminal's other end */
	MESSAGE_STARTING = 5, /* on a start connection: the program is about to be executed */
	MESSAGE_BORN = 6,     /* value: the pid of the child that goes on in our place, not ours but the host side's */
	MESSAGE_LISTENER = 7, /* on a start connection: with the listener of the filter */
	MESSAGE_FETCH = 8,    /* the answer comes with the descriptor that the step needs */
	MESSAGE_WARNING = 9, /* something isn't as asked: `call` says what, `subject` and value about what. No answer */
};

/* What an ask is about, beside what the plan says (ask-host). */
enum { STAGE_HOOKS = 1, STAGE_ID_MAPS = 2, STAGE_NET_DEVICES = 3, STAGE_CGROUPS = 4 };

struct message {
	uint32_t kind;
	uint32_t step;
	int32_t error; /* errno */
	uint32_t value;
};

enum kept { KEPT_PROC, KEPT_SYS };

struct init {
	struct plan plan;
	int base;	       /* the descriptor of slot 0; those from 3 up to here belong to the user's program */
	int root;	       /* the root filesystem, O_PATH; -1 before open-root */
	const char *root_path; /* on the host; null if we are in a container that exists */
	bool root_shared;      /* others see the tree that the root is mounted in: our mount namespace isn't new */
	int host_proc;	       /* the host's /proc, opened before any namespace was entered */
	uint64_t joined;       /* the namespaces that were joined, CLONE_NEW* */
	int conversation;      /* where failures are reported to; -1 when nobody listens any more */
	int labels[2];	       /* files of ours that take labels, from open-label on, or -1 */
	int kept[2];	       /* what was mounted on /proc and on /sys (enum kept), -1 before that */
	int proc;	       /* a procfs of our own, attached nowhere; -1 before it is needed */
	int empty;	       /* an empty read-only directory, mounted over masked directories; -1 before the first */
	mode_t umask;	       /* the program's */
	bool like_program;
	char *home;	    /* "HOME=...", or null if the program's environment has one */
	char **argv, **env; /* the program's */
	const char *path;   /* where it is looked for */
	bool directory_changed;
	struct trace_record *trace, *trace_end; /* where steps are noted, null if they aren't: trace.c */
	size_t traced;
	/* The failure of the current step. */
	int error;
	uint32_t value;
	const char *call;
	char subject[4096];
};

static inline int slot(const struct init *init, uint32_t number)
{
	return init->base + (int)number;
}

/* A step failed: note errno, the call and what it was about. Always -1, so that a step can return it. */
int step_failed(struct init *init, const char *call, const char *subject);

/* The same where the hint of the failure isn't an errno but a value (an exit status, say). */
int step_failed_with(struct init *init, const char *call, const char *subject, uint32_t value);

#define STEP(symbol, name, arguments, text) int step_##symbol(struct init *init, const struct step *step);
#include "steps.def"
#undef STEP

/* init.c: nobody will ever answer, the host side's end of the conversation is closed. */
bool host_is_gone(const struct init *init);

/* conversation.c */
void report_failure(struct init *init, const struct step *step);
int send_message(int socket, const struct message *message, const struct init *init, const char *origin);
/* False if the other side is gone, or says anything but "go on". */
bool go_ahead(int socket);
/* The step goes on, and the user is told: init.h, MESSAGE_WARNING. */
void warn(struct init *init, const struct step *step, const char *what, const char *subject, uint32_t value);
/* The descriptor that comes with a "go on", -1 and errno without one. */
int receive_descriptor(int socket);
int say_and_wait(struct init *init, const struct step *step, enum message_kind kind, uint32_t value);
/* Send a descriptor and wait. -1 and errno if it can't be sent. */
int send_descriptor(struct init *init, const struct step *step, enum message_kind kind, int descriptor);

/* births.c */
int open_own_file(struct init *init, const char *path, int flags);
/* What is held by O_PATH, opened to be used. */
int reopen(struct init *init, int fd, int flags);
int keep_death_signal(struct init *init);

/* process.c: from here on the umask and the limits are the program's. What is made or opened afterwards may fail. -1 and errno. */
int become_like_program(struct init *init);

/* namespaces.c: a procfs that nobody has mounted anything on, -1 and errno. */
int private_proc(struct init *init);

/* root.c: paths inside the root filesystem. Each resolves like the container itself would, and never leaves the root. */
int open_in_root(const struct init *init, const char *path, uint64_t flags, uint64_t resolve);
int open_beneath(int directory, const char *path, uint64_t flags);
/* Open a path, O_PATH; make what is missing of it. Its last name becomes a directory or an empty file. */
int open_or_make(const struct init *init, const char *path, mode_t directory_mode, bool is_directory);
/* The same; *made says whether the last name was missing. */
int find_or_make(const struct init *init, const char *path, mode_t directory_mode, bool is_directory, bool *made);
/* Open the directory that holds `path`, made if it is missing; *name is the path's last part. */
int open_parent(struct init *init, const char *path, const char **name);
