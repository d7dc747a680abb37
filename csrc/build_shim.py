"""Declares `pyoci._shim`, the C side of the host side, to cffi: `python build_shim.py OUTPUT.c` writes its C."""

import sys

import cffi

DECLARATIONS = """
struct spawn_request {
    uint64_t namespaces;
    int program;
    int pid_namespace;
    int cgroup;
    int first_descriptor;
    const int *slots;
    size_t slot_count;
    const char *name;
    int gate;
};
int spawn_init(const struct spawn_request *request, int *pid, int *pidfd, const char **call);

int become_subreaper(void);

void caller_note(int callers_umask);

int seal_program(const char *path);

int tree_open(const char *source, int recursive, int follow, int peer);
int tree_bind(const char *source, const char *target);
int tree_set_attributes(int tree, uint64_t set, uint64_t clear, int recursive);
int tree_idmap(int tree, int recursive, int user_namespace);
int user_namespace_with(const char *uid_map, const char *gid_map);

struct node {
    uint32_t mode, major, minor;
    uint32_t uid, gid;
    int tree;
};
int nodes_make(struct node *nodes, size_t count);

int netlink_open(int network_namespace);

int umount2(const char *target, int flags);

#define HOOK_OUTPUT_MAX ...
struct hook {
    const char *path;
    char *const *argv;
    char *const *envp;
    const char *directory;
    uint32_t timeout;
    int (*become)(void *);
    void *subject;
};
struct hook_result {
    const char *call;
    int error;
    int status;
    int timed_out;
    char output[...];
};
int hook_run(const struct hook *hook, const char *state, size_t state_size, struct hook_result *result);

uint32_t plan_checksum(const void *data, size_t size);
bool plan_is_sound(const char *data, size_t size);

int bpf_load_device_filter(const void *instructions, size_t size);
int bpf_attach_device_filter(int cgroup, int program, int replaced);
int bpf_detach_device_filter(int cgroup, int program);
int bpf_attached_device_filter(int cgroup);
"""

PREAMBLE = """
#include "bpf.h"
#include "hook.h"
#include "caller.h"
#include "netlink.h"
#include "nodes.h"
#include "plan.h"
#include "seal.h"
#include "spawn.h"
#include "trees.h"

#include <sys/mount.h>


static bool plan_is_sound(const char *data, size_t size)
{
    struct plan plan;

    return plan_open(&plan, data, size);
}
"""

ffibuilder = cffi.FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source("pyoci._shim", PREAMBLE)

if __name__ == "__main__":
    ffibuilder.emit_c_code(sys.argv[1])
