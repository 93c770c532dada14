# Two commands are all a newcomer needs: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
UP_ARGS := $(if $(DEMO),--demo,)
PIP := $(BIN)/python -m pip --disable-pip-version-check
NAME ?=
# One process per core and four at most: each may need 1.5 GB.
WORKERS ?= -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast up lint format docs bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make ... PYTHON=python3.13")'
	@echo "installing into $(VENV) (some minutes, about 2.6 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -q -c constraints.txt $(PIP_ARGS) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install -q -c constraints.txt $(PIP_ARGS) -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed-dev ## .venv with everything for development

demo: $(VENV)/.installed ## a simulated exchange, the whole pipeline, a report to look at
	@$(BIN)/tradecore demo

up: $(VENV)/.installed ## Dagster and MLflow on 127.0.0.1 (make up DEMO=1: over the demo's home)
	@exec $(BIN)/tradecore up $(UP_ARGS)

test: $(VENV)/.installed-dev ## the whole default suite
	@$(BIN)/python -m pytest -q $(WORKERS)

test-fast: $(VENV)/.installed-dev ## without the slow ones
	@$(BIN)/python -m pytest -q $(WORKERS) -m "not slow and not live"

lint: $(VENV)/.installed-dev ## format, lint, import contracts, types, definitions
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/basedpyright --warnings
	@TRADECORE_HOME="$$(mktemp -d)" DAGSTER_HOME= $(BIN)/dagster definitions validate -w workspace.yaml 2>&1 | tail -n 1

format: $(VENV)/.installed-dev ## rewrite in house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev ## rewrite the generated pages in docs/
	@$(BIN)/python -m tradecore_pipeline_tests.write_docs

bench: $(VENV)/.installed-dev ## every benchmark, or one: make bench NAME=hmm_fit_full
	@$(BIN)/python -m tradecore_pipeline_tests.benchmarks $(NAME)

clean: ## remove .venv and caches (data in .tradecore stays)
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
