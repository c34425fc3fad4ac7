# Everything a fresh clone needs, with Python 3.11 or newer and nothing else. `make` alone says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOGETHER ?= 4
FOLDER ?=
# A test process that dies ends the run, and the test is named: with another in its place, xdist waits for ever.
TEST = $(BIN)/python -m pytest -q -n $(TOGETHER) --dist loadgroup --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help venv test test-all tools check demo dev bench bench-peers

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(READY) ## a virtual environment in .venv with all that the other targets need

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Holdfast needs Python 3.11 or newer, and there is no $(PYTHON). Install it, or say which: make PYTHON=/path/to/python3"; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Holdfast needs Python 3.11 or newer ($$($(PYTHON) --version) seen). Say which to use: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; \
	  exit 1; }
	@echo "Installing into $(VENV) (once, and again when pyproject.toml changes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

test: $(READY) ## the whole suite on SQLite and PostgreSQL, without the slow tests; TOGETHER=4 at a time
	$(TEST) -m "not slow"

test-all: $(READY) tools ## the slow tests, too, and those that need Node, a browser or a pooler
	$(TEST)

tools: ## what some tests need beside Python, from Debian's packages
	@scripts/test_tools.sh

check: $(READY) ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python tests/typing/check.py
	$(BIN)/lint-imports

demo: $(READY) ## the example at work on real files, with a worker killed on the way; FOLDER=… for your own
	$(BIN)/python examples/demo/run.py $(if $(FOLDER),"$(FOLDER)")

dev: $(READY) ## server, worker and reload on the example
	$(BIN)/holdfast dev examples/hello/tasks.py

bench: $(READY) ## figures of this machine, on SQLite and PostgreSQL
	$(BIN)/python scripts/bench_both.py

bench-peers: $(READY) ## other job systems beside Holdfast, each at its best; about half an hour
	$(BIN)/python -m benchmarks
