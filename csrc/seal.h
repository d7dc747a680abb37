#pragma once

/* A descriptor of the program at `path` that no container can write through: close-on-exec, for execveat(2). -1: errno. */
int seal_program(const char *path);
