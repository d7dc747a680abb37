#include "init.h"
#include "syscalls.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <string.h>

int step_join_namespace(struct init *init, const struct step *step)
{
	int namespace = slot(init, step->args[0].f);

	/* The kernel refuses a namespace of another type than the one named: EINVAL, setns(2). */
	if (setns(namespace, (int)step->args[1].u) != 0)
		return step_failed(init, "setns", step->args[2].s);
	close(namespace);
	return 0;
}

int step_unshare(struct init *init, const struct step *step)
{
	if (unshare((int)step->args[0].u) != 0)
		return step_failed(init, "unshare", "new namespaces");
	return 0;
}

int step_set_hostname(struct init *init, const struct step *step)
{
	if (sethostname(step->args[0].s, strlen(step->args[0].s)) != 0)
		return step_failed(init, "sethostname", step->args[0].s);
	return 0;
}

int step_set_domainname(struct init *init, const struct step *step)
{
	if (setdomainname(step->args[0].s, strlen(step->args[0].s)) != 0)
		return step_failed(init, "setdomainname", step->args[0].s);
	return 0;
}

int step_assume_root(struct init *init, const struct step *step)
{
	(void)step;
	if (setresgid(0, 0, 0) != 0)
		return step_failed(init, "setresgid", "0");
	if (setresuid(0, 0, 0) != 0)
		return step_failed(init, "setresuid", "0");
	return 0;
}
