# One command each: `make demo` shows it, `make test` checks it. Both install what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/* lean/*.lean lean/CertVQ/*.lean)

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check lint types format bench lean clean help

help:            ## list the targets
	@grep -E '^[a-z]+: .*##|^[a-z]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

demo: $(VENV)/.demo  ## train, tokenize, audit and decode photographs; write the page
	$(BIN)/certvq demo --out runs/demo

test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest

check: lint types  ## lint, format and types

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## measure against the peers; writes bench/results
	$(BIN)/certvq bench assign --out bench/results

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); false)

$(VENV)/.demo: $(BUILD) | $(VENV)/bin/python
	$(BIN)/python -m pip install -e '.[all]'
	touch $@

$(VENV)/.dev: $(BUILD) | $(VENV)/bin/python
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install -e '.[bench]'
	touch $@

lean: $(VENV)/.dev  ## check all Lean files (fetches Lean from npm if there is none)
	$(BIN)/python -m certvq.theory._lean_check

clean:           ## remove what was built
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis src/certvq/_native/*.so
