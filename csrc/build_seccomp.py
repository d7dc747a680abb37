"""Declares `pyoci._seccomp`, libseccomp for Python, to cffi: `python build_seccomp.py OUTPUT.c` writes its C."""

import sys
from pathlib import Path

import cffi

ffibuilder = cffi.FFI()

# seccomp_init(3) and its neighbours.
ffibuilder.cdef("""
struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; ...; };
const struct scmp_version *seccomp_version(void);

typedef void *scmp_filter_ctx;
scmp_filter_ctx seccomp_init(uint32_t def_action);
void seccomp_release(scmp_filter_ctx ctx);

enum scmp_filter_attr { SCMP_FLTATR_CTL_OPTIMIZE, ... };
int seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value);

uint32_t seccomp_arch_native(void);
uint32_t seccomp_arch_resolve_name(const char *arch_name);
int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);

#define __NR_SCMP_ERROR ...
int seccomp_syscall_resolve_name(const char *name);
int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
char *seccomp_syscall_resolve_num_arch(uint32_t arch_token, int num);
void free(void *);

struct scmp_arg_cmp { unsigned int arg; int op; uint64_t datum_a; uint64_t datum_b; ...; };
int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt,
                           const struct scmp_arg_cmp *arg_array);
int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);

static int pyoci_seccomp_flags_supported(unsigned int flags);
static const char *pyoci_seccomp_library(void);
""")
ffibuilder.set_source("pyoci._seccomp", Path(__file__).with_name("seccomp.c").read_text())

if __name__ == "__main__":
    ffibuilder.emit_c_code(sys.argv[1])
