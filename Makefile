# `make demo` and `make test` set up all they need in .venv (Python >= 3.11 and package access suffice).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format docs config setup clean

demo: $(STAMP)
	@$(BIN)/fedcrucible demo

test: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# Rewrites [tool.flwr.app.config] of pyproject.toml from the configuration's own defaults.
config: $(STAMP)
	$(BIN)/python tools/sync_config.py

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; downloads PyTorch and Flower, a few minutes on a fresh machine) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[datasets,dev]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
