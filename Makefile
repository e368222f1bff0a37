# `make demo` and `make test` each work as the first command on a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the compiled engine is made from: a change of it installs streamlic again.
ENGINE := setup.py $(wildcard streamlic/decoder/*.pyx streamlic/decoder/core/*)

.PHONY: demo test test-slow lint bench bench-compare clean

$(VENV)/.run: pyproject.toml $(ENGINE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(VENV)/.bench: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@

demo: $(VENV)/.run  ## export 200,000 licenses from an emulated Truto and answer a question
	$(BIN)/streamlic demo demo-licenses

test: $(VENV)/.dev  ## the tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev  ## large bodies and long fuzzing
	$(BIN)/python -m pytest -m slow -s

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench  ## everything measured, side by side, with tables and pictures (ARGS=--quick)
	$(BIN)/python -m benchmarks all $(ARGS)

bench-compare: $(VENV)/.bench  ## the parsing path of this tree beside another's: BASE=<revision>
	$(BIN)/python -m benchmarks compare $(BASE) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info demo-licenses .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f streamlic/decoder/_fast.*.so
