# One place for every command. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DAEMON_SET := $(VENV)/.installed-daemon
DEV_SET := $(VENV)/.installed-dev
# what the machine itself trusts, as pip does: a company's or a sandbox's own authority is in that store alone
export UV_SYSTEM_CERTS ?= true
INSTALL := $(UV) pip install --python $(BIN)/python --quiet
PACKAGES := core configs tools agents graph dashboards sandbox research_lab

# least coverage in percent: of everything measured, and of every branch where a mistake costs money
COVERAGE ?= 90
COVERAGE_SAFETY ?= 100
ORDER_PATH := agents/execution_agent.py,agents/risk_manager_agent.py,tools/tools_execution_agent/*,tools/tools_risk_manager_agent/*
SAFETY_PATHS := core/risk/*,core/exec/*,core/sim/*,$(ORDER_PATH)
WORKERS ?= 2

ARGS ?=

.PHONY: help setup paper test lint types imports bench docs acceptance crash-matrix lock clean format

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV_SET)  ## install everything for development into .venv (pinned and hashed)

paper: $(DAEMON_SET)  ## trade the built-in synthetic market on paper: no network, no key, no other service
	@$(BIN)/brain paper --source synthetic $(ARGS)

test: lint types imports  ## everything CI checks: lint, types, imports, tests with coverage
	$(BIN)/coverage erase
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --fail-under=$(COVERAGE)
	$(BIN)/coverage report --include='$(SAFETY_PATHS)' --fail-under=$(COVERAGE_SAFETY)

lint: $(DEV_SET)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_SET)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV_SET)  ## mypy, strict
	$(BIN)/mypy

imports: $(DEV_SET)  ## imports point down only (import-linter)
	$(BIN)/lint-imports

bench: $(DEV_SET)  ## measure speed and memory; ratios within one run
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(DEV_SET)  ## write the generated pages of docs/
	$(BIN)/python -m scripts.docs

acceptance: $(DEV_SET)  ## long runs over real recordings (BRAIN_TEST_DATA, else ../shared/data)
	$(BIN)/pytest -m acceptance $(ARGS)

LIVES ?= 10000
crash-matrix: $(DEV_SET)  ## kill the live broker at every point under every fault, LIVES=10000 times in simulation
	$(BIN)/python -m tests.faults.crash_matrix --lives $(LIVES) $(ARGS)

lock: $(VENV)/.made  ## resolve both lock files anew, keeping what still fits
	$(UV) pip compile pyproject.toml --all-extras --group dev $(COMPILE) -o requirements.lock
	$(UV) pip compile pyproject.toml --group build -c requirements.lock $(COMPILE) -o requirements-daemon.lock
COMPILE := --generate-hashes --universal --python-version 3.11 --no-header --no-annotate --quiet

clean:  ## remove the environment and what tools wrote; never state, reports or logs
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.*
	find $(PACKAGES) tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: stamps make a second call instant ------------------------------------------------------------------------

# The newest line of Python first known to work, then whatever is new enough.
FIND_PYTHON := for python in $${PYTHON:-} python3.11 python3.12 python3.13 python3; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; done; \
	if [ -z "$$python" ]; then echo "error: Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi

$(VENV)/.made: requirements-daemon.lock
	@$(FIND_PYTHON); echo "setting up $(VENV) with $$($$python --version)"; \
	"$$python" -m venv $(VENV) || { echo "error: '$$python -m venv' failed; on Debian install python3-venv" >&2; exit 1; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements-daemon.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@touch $@

# Adds and never removes, so that it leaves a development set alone.
$(DAEMON_SET): requirements-daemon.lock pyproject.toml | $(VENV)/.made
	@echo "installing what the daemon needs (once)"
	@$(INSTALL) --compile-bytecode --require-hashes -r requirements-daemon.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_SET): requirements.lock requirements-daemon.lock pyproject.toml | $(VENV)/.made
	@echo "installing everything for development (once)"
	@$(UV) pip sync --python $(BIN)/python --quiet --compile-bytecode --require-hashes requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(DAEMON_SET) $@
