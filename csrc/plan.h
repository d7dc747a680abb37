/* A plan: a flat list of steps, made by Python (pyoci/plan/plan.py) and executed by pyoci-init.
 *
 * The wire format, little endian:
 *   header   magic "PYOC", u32 table, u32 size, u32 crc, u32 steps, u32 slots
 *   step     u16 kind, u16 zero, u32 size of what follows, the origin (a string), the arguments
 *   string   u32 length, the bytes, a NUL
 *   list     u32 count, the strings
 *   bytes    u32 length, the bytes
 * table says which steps there are, so that the init of another version refuses the plan. size is that of the whole plan, crc
 * (CRC-32, as in zlib) is over all that comes after it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAN_MAX_ARGS = 8, PLAN_MAX_SLOTS = 256, PLAN_HEADER_SIZE = 24 };

enum step_kind_number {
#define STEP(symbol, name, arguments, text) STEP_##symbol,
#include "steps.def"
#undef STEP
	STEP_COUNT,
};

struct step_kind {
	const char *name;
	const char *arguments;
};

extern const struct step_kind step_kinds[STEP_COUNT];

struct bytes {
	const char *data;
	uint32_t length;
};

/* A list's strings lie one after the other; walk them with list_next. */
struct list {
	const char *data;
	uint32_t count;
};

union arg {
	uint32_t u;
	uint64_t l;
	uint32_t f;
	const char *s;
	struct list v;
	struct bytes b;
};

struct step {
	enum step_kind_number kind;
	uint32_t number; /* from 0 */
	const char *origin;
	union arg args[PLAN_MAX_ARGS];
};

struct plan {
	const char *next;
	const char *end;
	uint32_t steps;
	uint32_t slots;
	uint32_t done;
};

/* Check the whole plan, every step of it, before any of it is executed. False if anything is wrong with it. */
bool plan_open(struct plan *plan, const void *data, size_t size);

/* The next step; false at the end. The step points into the plan's memory. */
bool plan_next(struct plan *plan, struct step *step);

/* The string that *cursor points to; moves *cursor to the one after it. */
const char *list_next(const char **cursor);

/* The list as execve(2) takes it, to be freed; the strings stay where they are. NULL without memory. */
char **list_to_argv(const struct list *list);

/* CRC-32 of the part that a plan's crc field covers. */
uint32_t plan_checksum(const void *data, size_t size);
