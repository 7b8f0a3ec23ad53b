# One word per job. `make run` is a whole call on this machine, `make test` everything that CI checks.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WEB := web/vendor/.fetched
PYTHON ?= # found by scripts/find-python.sh

.PHONY: help setup setup-test setup-train web run test lint types bench clean lock

help:
	@echo "make run     a whole call on this machine: your camera in, your avatar out"
	@echo "make test    install what tests need, and run them"
	@echo "make lint    style and types"
	@echo "make setup   only make .venv with what 'make run' needs"
	@echo "make web     only fetch what the pages take from npm"
	@echo "make bench   measure a call on this machine, in real browsers: a report in out/bench, in under 10 minutes"
	@echo "make setup-train   also torch, for making engines"

# Installing is repeated only when what is to be installed has changed.
$(VENV)/.live: pyproject.toml constraints.txt
	@test -x $(BIN)/python || { python="$(PYTHON)"; : "$${python:=$$(sh scripts/find-python.sh)}"; \
	  test -n "$$python" && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV); }
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.live
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test,lint,train]'
	@touch $@

$(VENV)/.bench: $(VENV)/.live
	$(PIP) install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(VENV)/.train: $(VENV)/.live
	$(PIP) install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

# What the pages take from npm, by their lock file. Only participants with nothing but a browser need it.
$(WEB): web/package.json web/package-lock.json scripts/fetch_web.py $(VENV)/.live
	$(BIN)/python scripts/fetch_web.py

web: $(WEB)

setup: $(VENV)/.live
setup-test: $(VENV)/.test
setup-train: $(VENV)/.train

run: setup
	@$(MAKE) --no-print-directory $(WEB) || echo "going on without: nobody can join with a browser alone"
	$(BIN)/telepresence demo

test: setup-test $(WEB)
	$(BIN)/python -m pytest

bench: $(VENV)/.bench
	$(BIN)/telepresence bench all

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Makes constraints.txt anew: the newest versions that pyproject.toml allows, for Python 3.11 and 3.12 alike.
lock: setup-test
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-emit-package torch --no-annotate --no-header \
	  --upgrade --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) web/vendor out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
