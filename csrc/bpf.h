#pragma once

#include <stddef.h>

/* bpf(2) for cgroup device filters. Each returns a descriptor or 0, else -1 with errno. */
int bpf_load_device_filter(const void *instructions, size_t size);
int bpf_attach_device_filter(int cgroup, int program);
