#pragma once

#include <stddef.h>

enum { BPF_NO_FILTER = -2 };

/* bpf(2) for cgroup device filters. Each returns a descriptor or 0, else -1 with errno. */
int bpf_load_device_filter(const void *instructions, size_t size);

/* replaced: our filter that is attached, in whose place this one comes in one moment; negative for none. */
int bpf_attach_device_filter(int cgroup, int program, int replaced);

int bpf_detach_device_filter(int cgroup, int program);

/* The filter of ours that is attached; BPF_NO_FILTER without one. Others' (systemd's, say) don't count. */
int bpf_attached_device_filter(int cgroup);
