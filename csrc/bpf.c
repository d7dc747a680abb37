#include "bpf.h"
#include "syscalls.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

enum { FILTERS_MAX = 64 }; /* The kernel attaches no more to a cgroup (BPF_CGROUP_MAX_PROGS). */

static const char name[] = "pyoci_devices";

int bpf_load_device_filter(const void *instructions, size_t size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)instructions;
	attr.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
	attr.license = (uint64_t)(uintptr_t)"Apache-2.0";
	memcpy(attr.prog_name, name, sizeof(name));
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

int bpf_attach_device_filter(int cgroup, int program, int replaced)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (replaced >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replaced;
	}
	return (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr));
}

int bpf_detach_device_filter(int cgroup, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	return (int)syscall(SYS_bpf, BPF_PROG_DETACH, &attr, sizeof(attr));
}

static int open_filter(uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
}

static int is_ours(int program)
{
	struct bpf_prog_info info;
	union bpf_attr attr;

	memset(&info, 0, sizeof(info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)program;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uint64_t)(uintptr_t)&info;
	return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) == 0 && strcmp(info.name, name) == 0;
}

int bpf_attached_device_filter(int cgroup)
{
	uint32_t ids[FILTERS_MAX];
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)cgroup;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attr.query.prog_cnt = FILTERS_MAX;
	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) != 0)
		return -1;
	for (uint32_t i = 0; i < attr.query.prog_cnt; i++) {
		int program = open_filter(ids[i]);

		if (program < 0)
			return -1;
		if (is_ours(program))
			return program;
		close(program);
	}
	return BPF_NO_FILTER;
}
