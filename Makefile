# The two commands, and what developers run. All of them are safe to run again: what is installed is not installed anew.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: train test test-slow test-faults lint format clean

train: $(INSTALLED)  ## Install, and train DCGAN on the embedded digits.
	$(BIN)/accelerate launch -m gan_core train --config configs/dcgan-digits.yaml

test: $(INSTALLED)  ## Install, and run the whole suite but for what is marked slow.
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)  ## The checks that take minutes each.
	$(BIN)/python -m pytest -m slow

test-faults: $(INSTALLED)  ## Thirty kills of each kind, a full disk, and two machines: whole, as root.
	$(BIN)/python -m pytest tests/test_kills.py tests/test_full_disk.py tests/test_two_machines.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Anew only when a requirement changed; the file is written last, so that an install that failed is tried again.
$(INSTALLED): requirements.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gan_core needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
