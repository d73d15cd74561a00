# One word each. Every target sets up what it needs first; `make setup` does nothing when nothing changed.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PORT ?= 0
ARGS ?=

# What the tools download stays here. Outside of this folder only the Debian packages go, which scripts/install-servers
# announces, pip's own cache, and temporary files.
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/.run/pyright
export npm_config_cache := $(CURDIR)/.run/npm

.PHONY: help setup servers test quick check run lint types bench docs suites conformance deployments compat clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.stamp  ## a virtual environment in .venv with every extra

$(VENV)/.stamp: pyproject.toml scripts/make-venv
	@scripts/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

servers:  ## what the tests start: Redis, PostgreSQL, and curl (Debian packages)
	@scripts/install-servers redis-server postgresql pgbouncer curl

test: servers lint types  ## lint, types, and all tests but the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

quick: setup  ## the tests that need no server: under a minute, nothing to install
	$(BIN)/python -m pytest -n $(WORKERS) -m quick $(ARGS)

check: lint types quick  ## before every commit: lint, types and the quick tests

run: setup  ## the example app; PORT=8000 for a fixed port
	@PORT=$(PORT) $(BIN)/python -m example_app

lint: setup  ## ruff and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## mypy --strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

bench: setup  ## ratios against named opponents
	@scripts/install-servers wrk
	$(BIN)/python -m benchmarks $(ARGS)

docs: setup servers  ## run every code block of README.md and docs/
	$(BIN)/python -m pytest tests/docs $(ARGS)

suites: setup  ## the concurrent suites alone, at once and over several processes: the table of docs/concurrency.md
	$(BIN)/python -m tests.e2e.suites

conformance: setup servers  ## client generators, a real browser, nginx
	@scripts/install-servers nginx chromium default-jre-headless
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "conformance or browser" --timeout 600 $(ARGS)

deployments: setup servers  ## other servers, poolers, clusters, sentinels; stopped, full, demoted
	@scripts/install-servers pgbouncer nginx caddy haproxy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m deployments --timeout 120 $(ARGS)

compat: servers  ## the behaviour on the lowest, newest and coming releases of FastAPI and its kin
	WORKERS=$(WORKERS) scripts/compat $(ARGS)

clean:  ## remove what the targets made
	rm -rf $(VENV) .compat .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
