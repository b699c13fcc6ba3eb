# make demo, make test: each sets up what it needs first; see envs/setup.sh
# for the settings (PYTHON, VENV, MPICC, HDF5_DIR, PIPSHPC_CACHE, PIPSHPC_MARCH).
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= $(CURDIR)/.venv
BIN := $(VENV)/bin
export VENV
export PATH := $(BIN):$(PATH)

# Open MPI refuses to run as root unless it is told twice that this is meant.
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
endif

PYTHON_FILES := pipshpc cext setup.py $(wildcard tests benchmarks jobs)
SHELL_FILES := pipshpc/stack/*.sh envs/*.sh envs/lab/*.sh jobs/*.sh jobs/*.sbatch .ci/run

.PHONY: help setup setup-dev setup-lab build demo test test-lab lint format setup-bench bench doctor lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## install what running needs and build the kernels
	@envs/setup.sh

setup-dev: ## the same, and what tests, linters and benchmarks need
	@envs/setup.sh --dev

# The tests on the virtual Slurm cluster are part of the run; where it cannot be, they say why.
setup-lab: setup-dev ## and what the virtual Slurm cluster needs (root on Debian)
	@envs/lab/install.sh || echo "setup: without these, the tests on the virtual cluster are skipped"

build: setup ## build the kernels

# The analysis file lies beside the project where reference data are; elsewhere the atmosphere is an idealised one.
ANALYSIS := $(wildcard ../shared/data/global/flxf2006040100.grb)
DEMO := $(if $(ANALYSIS),demo,demo_idealised)

demo: setup ## make one day of global 5 km radiation, with pictures
	@pipshpc run jobs/campaigns/$(DEMO).yaml

# pytest comes last: its summary is the last line.
test: lint setup-lab ## run the linters and all tests
	python -m pytest

test-lab: setup-lab ## run the tests on the virtual Slurm cluster alone
	python -m pytest -m lab

lint: setup-dev ## check format, style, types and scripts
	ruff check $(PYTHON_FILES)
	ruff format --check $(PYTHON_FILES)
	mypy
	cython-lint cext
	@if command -v shellcheck >/dev/null; then \
	    echo "shellcheck $(SHELL_FILES)"; shellcheck $(SHELL_FILES); \
	else echo "shellcheck is not installed: scripts are not checked"; fi

format: setup-dev ## write the format that lint wants
	ruff check --fix $(PYTHON_FILES)
	ruff format $(PYTHON_FILES)

setup-bench: setup-dev ## and the packages that the benchmarks race against
	@envs/setup.sh --bench

bench: setup-bench ## measure, and race the peers
	python -m benchmarks

doctor: setup ## say what works on this machine and what does not
	@pipshpc doctor

lock: ## write the package locks anew from envs/*.in
	@envs/lock.sh $(LOCK_FLAGS)

clean: ## remove what was built, and the environment
	rm -rf build pipshpc/_*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache $(VENV)
