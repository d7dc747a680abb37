#pragma once

/* Every signal has its default effect, and none is blocked: how a program of the user's starts. */
void reset_signals(void);
