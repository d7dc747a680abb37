# The three commands: `make hello`, `make test` and `make test-vm`. They set up whatever is missing, as root on Debian or Ubuntu.

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
DEBIAN := gcc libc6-dev libffi-dev libseccomp-dev linux-libc-dev python3-dev python3-venv busybox-static
DEBIAN_TEST := crun runc util-linux uidmap iproute2 man-db zsh fish
BUILD_INPUTS := $(wildcard csrc/*.c csrc/*.h csrc/*.py csrc/*.def schemas/*.json pyoci/spec/generate.py pyoci/spec/schema.py)

.PHONY: all man completions docs hello test test-vm bench lint types clean debian debian-test

all: $(VENV)/bin/pyoci

debian:
	@.ci/install-debian $(DEBIAN)

debian-test:
	@.ci/install-debian $(DEBIAN) $(DEBIAN_TEST)

$(VENV)/.installed: pyproject.toml | debian
	@echo "setting up $(VENV): cffi, jeepney, jsonschema, pytest, hypothesis, ruff, mypy (from PyPI)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/requirements.txt
	@touch $@

$(VENV)/bin/pyoci: $(BUILD_INPUTS) $(VENV)/.installed
	@echo "building pyoci"
	@$(VENV)/bin/python csrc/build.py --launcher $@ 2>$(VENV)/build.log || { cat $(VENV)/build.log; exit 1; }

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

lint: all
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: all
	@$(VENV)/bin/mypy

test: debian-test all lint types
	@$(VENV)/bin/python -m pytest

# The same suites where systemd and cgroup v2 are: in a virtual machine, which needs no KVM.
test-vm: debian-test all
	@tests/vm/suite

bench: debian-test all
	@$(VENV)/bin/python bench/lifecycle.py
	@$(VENV)/bin/python bench/mounts.py
	@$(VENV)/bin/python bench/joining.py
	@$(VENV)/bin/python bench/exec.py

clean:
	rm -rf $(VENV) build pyoci/pyoci-init pyoci/*.so pyoci/plan/steps.py pyoci/spec/_validator.py
