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

.PHONY: help setup servers test run lint types bench docs conformance clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.stamp  ## a virtual environment in .venv with every extra

$(VENV)/.stamp: pyproject.toml scripts/make-venv
	@scripts/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

servers:  ## what the tests start: Redis, PostgreSQL, and curl (Debian packages)
	@scripts/install-servers redis-server postgresql curl

test: setup servers  ## all tests but the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

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

conformance: setup servers  ## client generators, a real browser, nginx
	@scripts/install-servers nginx chromium default-jre-headless
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "conformance or browser" --timeout 600 $(ARGS)

clean:  ## remove what the targets made
	rm -rf $(VENV) .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
