"""Builds pyoci._seccomp: libseccomp for Python, apart from pyoci._shim: only who compiles a filter loads it.

setuptools finds `ffibuilder` through cffi_modules. For work on the tree,
`python csrc/build_seccomp.py [DIRECTORY]` builds it in place, or as DIRECTORY/_seccomp.*.so.
"""

import os
import pathlib
import shutil
import sys
import tempfile

import cffi

_HERE = pathlib.Path(__file__).resolve().parent

ffibuilder = cffi.FFI()

# seccomp_init(3) and its neighbours.
ffibuilder.cdef("""
struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; ...; };
const struct scmp_version *seccomp_version(void);

typedef void *scmp_filter_ctx;
scmp_filter_ctx seccomp_init(uint32_t def_action);
void seccomp_release(scmp_filter_ctx ctx);

#define SCMP_FLTATR_CTL_OPTIMIZE ...
int seccomp_attr_set(scmp_filter_ctx ctx, int attr, uint32_t value);

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
ffibuilder.set_source(
    "pyoci._seccomp",
    (_HERE / "seccomp.c").read_text(),
    libraries=["seccomp", "dl"],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Werror"],
)


def build(directory: pathlib.Path) -> pathlib.Path:
    """Build the extension as `directory`/_seccomp.*.so and nothing else; returns its path."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # elsewhere setuptools would read the project's own pyproject.toml
        built = ffibuilder.compile(tmpdir=scratch)
        target = directory / os.path.basename(built)
        # Renamed into place: a process may be running the old one.
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copy(built, partial)
        partial.rename(target)
        os.chdir("/")
    return target


if __name__ == "__main__":
    print(build(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else _HERE.parent / "pyoci").resolve()))
