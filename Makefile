# All commands set up what they need in .venv (Python >= 3.11 and a package index suffice).
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo check test test-slow test-long test-all lint format config docs golden constraints hooks setup clean docker-smoke audit

help:
	@awk -F ' ## ' '/^[a-z-]+:.* ## / { sub(/:.*/, "", $$1); printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## FedAvg, FLAME and CLIP-Fed under BadNets, through `flwr run`; then: fedcrucible demo fm-fl
	@$(BIN)/fedcrucible demo

check: lint ## lint, types and the unit tests of what changed since main
	@$(PYTEST) -m "not slow" $$($(BIN)/python tools/changed_tests.py)

test: lint ## lint, types and all tests but the slow ones
	@$(PYTEST) -n $(WORKERS) -m "not slow"

test-slow: $(STAMP) ## the slow tests alone: Ray, SuperLinks, browsers, whatever takes over three seconds
	@$(PYTEST) -n $(WORKERS) -m "slow and not long"

test-long: $(STAMP) ## what takes minutes: rehearsals, four hosts by network namespaces, a Ray cluster, interrupted calls
	@$(PYTEST) -m long

test-all: lint ## lint, types and every test
	@$(PYTEST) -n $(WORKERS)

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(STAMP) ## let ruff correct and format
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

config: $(STAMP) ## write every configuration key and the list of rooms into pyproject.toml
	$(BIN)/python tools/sync_config.py

docs: config ## the generated files: pyproject.toml's keys, docs/methods.md, the table of docs/flower-app.md
	$(BIN)/python tools/list_methods.py
	$(BIN)/python tools/list_drop_ins.py

golden: $(STAMP) ## write the golden digests anew, for a change that is meant to move numbers
	$(BIN)/python -m tests.golden

docker-smoke: $(STAMP) ## build the images and run docker/compose.yml with podman; says so where there is none
	@$(BIN)/python tools/docker_smoke.py

audit: $(STAMP) ## known vulnerabilities of the pinned packages, hadolint, a config check of every compose file
	@$(BIN)/python tools/audit.py

constraints: $(STAMP) ## constraints.txt anew: the newest versions that fit
	$(BIN)/python tools/refresh_constraints.py

hooks: $(STAMP) ## run the checks of .pre-commit-config.yaml at every commit
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt pre-commit
	$(BIN)/pre-commit install

setup: $(STAMP) ## set up .venv

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; downloads PyTorch and Flower, a few minutes on a fresh machine) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[all,dev]"
	@touch $(STAMP)

clean: ## remove .venv and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
