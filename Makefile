# `make demo` opens the page, `make test` runs every check, `make figures` measures the shipped weights, `make hostile`
# attacks the server; each from a bare clone.
# PYTHON picks the interpreter that makes the environment (3.11 or 3.12), VENV its place,
# REQUIREMENTS=requirements-gpu.txt the list for a GPU.

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
REQUIREMENTS ?= requirements.txt
BIN := $(VENV)/bin

.DEFAULT_GOAL := demo
.PHONY: demo test figures hostile lint format browser clean

demo: $(VENV)/.demo
	$(BIN)/python app.py

test: $(VENV)/.dev lint browser
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --durations=15

# The statistics of the shipped weights over whole samples; `make test` takes a few of each.
figures: $(VENV)/.dev
	$(BIN)/python -m pytest -m figures --whole

# Strangers at the real server: thousands of calls, pictures and prompts; `make test` takes a few of each.
hostile: $(VENV)/.dev browser
	$(BIN)/python -m pytest -m hostile --whole

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || { \
		echo "'$(PYTHON)' is no Python 3.11 or 3.12; name one, as in: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement $(REQUIREMENTS)
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@ $(VENV)/.demo

browser:
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends chromium; \
	else echo "The page's tests need Chromium; install it, on Debian with: sudo apt-get install chromium" >&2; exit 1; fi

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache
