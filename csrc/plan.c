#include "plan.h"

#include <stdlib.h>
#include <string.h>

const struct step_kind step_kinds[STEP_COUNT] = {
#define STEP(symbol, name, arguments, text) [STEP_##symbol] = { name, arguments },
#include "steps.def"
#undef STEP
};

static const char plan_magic[4] = { 'P', 'Y', 'O', 'C' };

/* What is left to read. Every read checks that it fits, so a plan that lies about its lengths ends the reading. */
struct reader {
	const char *at;
	const char *end;
};

static bool read_u16(struct reader *r, uint16_t *value)
{
	if (r->end - r->at < 2)
		return false;
	memcpy(value, r->at, 2);
	r->at += 2;
	return true;
}

static bool read_u32(struct reader *r, uint32_t *value)
{
	if (r->end - r->at < 4)
		return false;
	memcpy(value, r->at, 4);
	r->at += 4;
	return true;
}

static bool read_u64(struct reader *r, uint64_t *value)
{
	if (r->end - r->at < 8)
		return false;
	memcpy(value, r->at, 8);
	r->at += 8;
	return true;
}

static bool read_bytes(struct reader *r, struct bytes *value)
{
	if (!read_u32(r, &value->length) || (size_t)(r->end - r->at) < value->length)
		return false;
	value->data = r->at;
	r->at += value->length;
	return true;
}

static bool read_string(struct reader *r, const char **value)
{
	struct bytes bytes;

	if (!read_bytes(r, &bytes) || r->at == r->end || *r->at != '\0')
		return false;
	/* A NUL inside would make C see another string than Python compiled. */
	if (memchr(bytes.data, '\0', bytes.length) != NULL)
		return false;
	r->at++;
	*value = bytes.data;
	return true;
}

static bool read_list(struct reader *r, struct list *value)
{
	const char *ignored;

	if (!read_u32(r, &value->count))
		return false;
	value->data = r->at;
	for (uint32_t i = 0; i < value->count; i++)
		if (!read_string(r, &ignored))
			return false;
	return true;
}

static bool read_slot(struct reader *r, uint32_t slots, uint32_t *value)
{
	return read_u32(r, value) && *value < slots;
}

static bool read_arg(struct reader *r, char type, uint32_t slots, union arg *arg)
{
	switch (type) {
	case 'u':
		return read_u32(r, &arg->u);
	case 'l':
		return read_u64(r, &arg->l);
	case 's':
		return read_string(r, &arg->s);
	case 'v':
		return read_list(r, &arg->v);
	case 'b':
		return read_bytes(r, &arg->b);
	case 'f':
		return read_slot(r, slots, &arg->f);
	default:
		return false;
	}
}

static bool read_step(struct reader *r, uint32_t slots, struct step *step)
{
	uint16_t kind, zero;
	struct bytes body;

	if (!read_u16(r, &kind) || !read_u16(r, &zero) || !read_bytes(r, &body))
		return false;
	if (kind >= STEP_COUNT || zero != 0)
		return false;

	struct reader inner = { body.data, body.data + body.length };
	const char *types = step_kinds[kind].arguments;

	step->kind = kind;
	if (!read_string(&inner, &step->origin))
		return false;
	for (int i = 0; types[i] != '\0'; i++)
		if (!read_arg(&inner, types[i], slots, &step->args[i]))
			return false;
	return inner.at == inner.end;
}

uint32_t plan_checksum(const void *data, size_t size)
{
	uint32_t table[256], crc = ~0U;
	const unsigned char *bytes = data;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320U : table[i] >> 1;
	}
	for (size_t i = 0; i < size; i++)
		crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* FNV-1a of the steps' names and arguments. */
static uint32_t table_of_steps(void)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < STEP_COUNT; i++) {
		const char *texts[] = { step_kinds[i].name, step_kinds[i].arguments };

		for (size_t text = 0; text < 2; text++) {
			const char *c = texts[text];

			do
				hash = (hash ^ (unsigned char)*c) * 16777619U;
			while (*c++ != '\0');
		}
	}
	return hash;
}

bool plan_open(struct plan *plan, const void *data, size_t size)
{
	struct reader r = { data, (const char *)data + size };
	uint32_t table, declared, crc;
	struct step step;

	if (size < PLAN_HEADER_SIZE || memcmp(data, plan_magic, sizeof(plan_magic)) != 0)
		return false;
	r.at += sizeof(plan_magic);
	if (!read_u32(&r, &table) || table != table_of_steps())
		return false;
	if (!read_u32(&r, &declared) || !read_u32(&r, &crc) || declared != size)
		return false;
	if (crc != plan_checksum(r.at, (size_t)(r.end - r.at)))
		return false;
	if (!read_u32(&r, &plan->steps) || !read_u32(&r, &plan->slots) || plan->slots > PLAN_MAX_SLOTS)
		return false;

	plan->next = r.at;
	plan->end = r.end;
	plan->done = 0;
	for (uint32_t i = 0; i < plan->steps; i++)
		if (!read_step(&r, plan->slots, &step))
			return false;
	return r.at == r.end;
}

bool plan_next(struct plan *plan, struct step *step)
{
	struct reader r = { plan->next, plan->end };

	if (plan->done == plan->steps || !read_step(&r, plan->slots, step))
		return false;
	step->number = plan->done++;
	plan->next = r.at;
	return true;
}

const char *list_next(const char **cursor)
{
	uint32_t length;
	const char *string = *cursor + sizeof(length);

	memcpy(&length, *cursor, sizeof(length));
	*cursor = string + length + 1;
	return string;
}

char **list_to_argv(const struct list *list)
{
	char **argv = calloc((size_t)list->count + 1, sizeof(*argv));
	const char *cursor = list->data;

	for (uint32_t i = 0; argv != NULL && i < list->count; i++)
		argv[i] = (char *)list_next(&cursor);
	return argv;
}
