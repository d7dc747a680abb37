/* Decodes plans as pyoci-init does, and touches every byte that a step would: built with sanitizers by test_decoder.py.
 * Input: plans one after the other, each after its length (u32, little endian). Output: a line for each. */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned int sum;

static void touch(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		sum += (unsigned char)data[i];
}

static void touch_list(const struct list *list)
{
	char **argv = list_to_argv(list);

	if (argv == NULL)
		abort();
	for (uint32_t i = 0; i < list->count; i++)
		touch(argv[i], strlen(argv[i]));
	free(argv);
}

static void touch_step(const struct step *step)
{
	const char *types = step_kinds[step->kind].arguments;

	touch(step->origin, strlen(step->origin));
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's')
			touch(step->args[i].s, strlen(step->args[i].s));
		else if (types[i] == 'v')
			touch_list(&step->args[i].v);
		else if (types[i] == 'b')
			touch(step->args[i].b.data, step->args[i].b.length);
		else
			sum += step->args[i].u;
	}
}

static void decode(const char *data, size_t size)
{
	struct plan plan;
	struct step step;
	unsigned int steps = 0;

	if (!plan_open(&plan, data, size)) {
		puts("refused");
		return;
	}
	for (; plan_next(&plan, &step); steps++)
		touch_step(&step);
	printf("accepted %u\n", steps);
}

int main(void)
{
	uint32_t size;

	while (fread(&size, sizeof(size), 1, stdin) == 1) {
		/* A block of just that size, so that the sanitizer sees the first byte too far. */
		char *data = malloc(size ? size : 1);

		if (data == NULL || fread(data, 1, size, stdin) != size)
			return 1;
		decode(data, size);
		free(data);
	}
	return 0;
}
