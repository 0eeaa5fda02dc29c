# The README's two commands, and the developers' targets. All can be repeated; installed packages are not reinstalled.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: train test test-slow test-faults test-gpu lint format clean

train: $(INSTALLED)  ## Install, and train DCGAN on scikit-learn's digits.
	$(BIN)/accelerate launch --config_file launch/gpu-1.yaml -m gan_core train --config configs/dcgan-digits.yaml

test: $(INSTALLED)  ## Install, and run all tests except those marked slow.
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)  ## Run the tests that take minutes each.
	$(BIN)/python -m pytest -m slow

# Needs root, and for SLURM: apt-get install slurm-wlm munge. What is missing is skipped, with the reason.
FAULTS := kills storm full_disk two_machines slurm
test-faults: $(INSTALLED)  ## Run 30 kills of each kind, 100 random faults, a full disk, two machines, and a real SLURM.
	$(BIN)/python -m pytest $(FAULTS:%=tests/test_%.py)

test-gpu: $(INSTALLED)  ## Check and measure on one GPU, up to 9 minutes; the report is in build/gpu.
	$(BIN)/python -m tests.gpu --out build/gpu

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Runs only if a requirement has changed. The file is written last, so that a failed install is repeated.
$(INSTALLED): requirements.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gan_core needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): about two minutes, 6 GB."
	$(BIN)/python -m pip install --requirement requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
