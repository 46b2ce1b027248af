# What people type. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help up test check lint bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

up: $(READY) ## Install into a virtual environment and run examples/hello
	$(BIN)/argosy up examples/hello

test: $(READY) ## Set up and run every check and test
	scripts/install-test-programs
	$(MAKE) --no-print-directory lint
	PYTHONPATH=tests $(BIN)/python -m machines
	$(BIN)/pytest -n 2 --dist worksteal

check: $(READY) lint ## Format, lint, types, layers and the fast tests: under a minute
	$(BIN)/pytest -n 2 -q -m "not slow" tests/unit tests/project

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure; prints figures with machine and method
	@for bench in bench/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt scripts/make-venv
	PYTHON="$(PYTHON)" scripts/make-venv $(VENV)
	touch $(READY)
