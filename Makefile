# `make hello`, `make test` and `make test-vm` work in the checkout; `make install` and `make deb` take pyoci out of it. All set up
# whatever is missing, as root on Debian or Ubuntu. What is built, and where it goes, is in meson.build.

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
MESON = $(PYTHON) -m mesonbuild.mesonmain
DEBIAN := gcc libc6-dev libffi-dev libseccomp-dev linux-libc-dev python3-dev python3-venv busybox-static
DEBIAN_LINT := clang shellcheck
DEBIAN_TEST := crun runc util-linux uidmap iproute2 man-db zsh fish
DEBIAN_INSTALL := gcc libc6-dev libseccomp-dev linux-libc-dev python3-dev python3-cffi python3-jsonschema meson
BUILD_INPUTS := $(shell find csrc schemas -type f) meson.build meson_options.txt packaging/build packaging/launcher.py \
	pyoci/spec/generate.py pyoci/spec/schema.py

DEBIAN_PACKAGE := $(DEBIAN_INSTALL) libpython3-dev debhelper dh-python lintian
DEBIAN_RPM := rpm
DEBIAN_ROOTS := mmdebstrap debian-archive-keyring
DEBIAN_ARM64 := $(DEBIAN_INSTALL) $(DEBIAN_ROOTS) gcc-aarch64-linux-gnu pkg-config

C := $(shell find csrc tests conformance -name '*.[ch]')
SHELL_SCRIPTS := $(shell grep -rlIE --exclude='*.py' '^\#!/bin/((ba)?sh|busybox sh)' .ci examples packaging tests)

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
PYTHONDIR ?= $(shell $(PYTHON) packaging/packages_directory.py $(PREFIX))

.PHONY: all man completions docs hello install uninstall sdist wheel deb rpm test test-packages test-vm test-arm64 bench lint types clean debian debian-test debian-lint debian-install

all: $(VENV)/bin/pyoci

debian:
	@.ci/install-debian $(DEBIAN)

debian-test:
	@.ci/install-debian $(DEBIAN) $(DEBIAN_TEST)

debian-lint:
	@.ci/install-debian $(DEBIAN_LINT)

# Elsewhere whoever builds has the same from another distribution.
debian-install:
	@! command -v dpkg-query >/dev/null || .ci/install-debian $(DEBIAN_INSTALL)

$(VENV)/.installed: pyproject.toml .ci/requirements.txt | debian
	@echo "setting up $(VENV): cffi, jeepney, jsonschema, meson, pytest, hypothesis, ruff, mypy, clang-tidy (from PyPI)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/requirements.txt
	@touch $@

# The checkout is a place to install to like any other; its own Python is there already.
$(VENV)/bin/pyoci: $(BUILD_INPUTS) $(VENV)/.installed
	@echo "building pyoci"
	@rm -f pyoci/_*.cpython-*.so
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" packaging/build build/tree $(CURDIR)/$(VENV)/bin/python -Dwerror=true \
		-Dpython.platlibdir=$(CURDIR) --bindir=$(CURDIR)/$(VENV)/bin
	@$(VENV)/bin/python -m mesonbuild.mesonmain install -C build/tree --no-rebuild --only-changed --quiet --tags built
	@touch $@

# An interpreter's path, the prefix and the place of the package are written into the command.
build/install: debian-install
	@packaging/build $@ $(PYTHON) --prefix=$(PREFIX) --bindir=$(BINDIR) -Dpython.platlibdir=$(PYTHONDIR) -Dbytecode=true \
		$(INSTALL_OPTIONS)
.PHONY: build/install

install: build/install
	@DESTDIR=$(DESTDIR) $(MESON) install -C $< --no-rebuild --quiet
	@echo "installed as $(DESTDIR)$(BINDIR)/pyoci; the package is in $(DESTDIR)$(PYTHONDIR)"

uninstall: build/install
	@DESTDIR=$(DESTDIR) $(PYTHON) packaging/uninstall.py $<

# What people are given goes to dist/.
sdist: $(VENV)/.installed
	@packaging/wheel $(VENV)/bin/python --sdist

wheel: $(VENV)/.installed
	@packaging/wheel $(VENV)/bin/python

deb:
	@.ci/install-debian $(DEBIAN_PACKAGE)
	@rm -f dist/*.deb
	@packaging/deb

rpm: sdist
	@.ci/install-debian $(DEBIAN_INSTALL) $(DEBIAN_RPM)
	@packaging/rpm

man: $(VENV)/.installed
	@$(VENV)/bin/python -m pyoci.cli.manual build/man
	@echo "the manual pages are in build/man: man -l build/man/pyoci.1"

completions: $(VENV)/.installed
	@$(VENV)/bin/python -m pyoci.cli.completions build/completions
	@echo "the completions for bash, zsh and fish are in build/completions"

$(VENV)/.documented: .ci/requirements-docs.txt | $(VENV)/.installed
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/requirements-docs.txt
	@touch $@

# A page that links to nowhere is an error.
docs: $(VENV)/.documented
	@PYTHONPATH=. $(VENV)/bin/python docs/site.py
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --config-file docs/mkdocs.yml >build/docs/log 2>&1 || { cat build/docs/log; exit 1; }
	@echo "the pages are in build/docs/site: index.html"

hello: all
	@examples/hello

# What another compiler says about the C, and what follows the paths through it. Only after a change of it.
build/clang/.clean: $(C) $(wildcard csrc/*.def csrc/*.py) meson.build .clang-format .clang-tidy compile_flags.txt \
	.ci/requirements.txt Makefile | $(VENV)/bin/pyoci debian-lint
	@echo "checking the C with clang, clang-format and clang-tidy"
	@$(VENV)/bin/clang-format --dry-run -Werror $(C)
	@CC=clang PATH="$(CURDIR)/$(VENV)/bin:$$PATH" packaging/build build/clang $(CURDIR)/$(VENV)/bin/python -Dwerror=true
	@printf '%s\n' $(filter %.c,$(C)) | xargs -n 4 -P "$$(nproc)" $(VENV)/bin/clang-tidy --quiet >build/clang/tidy.log 2>&1 || \
		{ cat build/clang/tidy.log; exit 1; }
	@touch $@

lint: all debian-lint build/clang/.clean
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@shellcheck $(SHELL_SCRIPTS)

types: all
	@$(VENV)/bin/mypy

test: debian-test all lint types
	@$(VENV)/bin/python -m pytest

# What people install, in systems that have nothing else.
test-packages: debian-test all deb wheel
	@.ci/install-debian $(DEBIAN_ROOTS)
	@PYOCI_TEST_PACKAGES=1 $(VENV)/bin/python -m pytest tests/packaging

# The same suites where systemd and cgroup v2 are: in a virtual machine, which needs no KVM.
test-vm: debian-test all
	@tests/vm/suite

# pyoci of another architecture, in such a machine: the tests of what that can break. Built apart, in build/arm64.
test-arm64:
	@.ci/install-debian $(DEBIAN_ARM64)
	@packaging/cross >/dev/null
	@tests/vm/suite arm64

bench: debian-test all
	@$(VENV)/bin/python bench/lifecycle.py
	@$(VENV)/bin/python bench/mounts.py
	@$(VENV)/bin/python bench/joining.py
	@$(VENV)/bin/python bench/exec.py

clean:
	rm -rf $(VENV) build dist pyoci/pyoci-init pyoci/*.so pyoci/plan/steps.py pyoci/spec/_validator.py
