#include "signals.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Python ignores SIGPIPE and SIGXFSZ, and an engine may ignore or block what it likes. The C library hides two signals
 * from its users (32 and 33), which a caller can still have ignored: so this asks the kernel itself, whose struct
 * sigaction is at most 32 bytes, and whose signal set is 8. Zeros are SIG_DFL, no flags, an empty mask. */
void reset_signals(void)
{
	static const char by_default[32];
	static const char none[8];

	for (int number = 1; number <= 64; number++)
		syscall(SYS_rt_sigaction, number, by_default, NULL, sizeof(none));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, sizeof(none));
}
