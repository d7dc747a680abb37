/* Noting when each step began. Without `--trace` all that is left of this is a look at a null pointer. */
#pragma once

#include <stdbool.h>

struct init;
struct step;
struct trace_record;

/* From now on steps are noted in this memory, whose descriptor is closed. False and errno if it can't be mapped. */
bool trace_into(struct init *init, int memory);
/* Note that a step begins. Only while init->trace isn't null. */
void trace_begin_of(struct init *init, const struct step *step);
/* Nothing more is noted, and nothing of that memory stays ours. */
void trace_stop(struct init *init);
