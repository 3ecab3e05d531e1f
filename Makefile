# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A file's tests stay together: they share what its fixtures took long to make.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help report test unit ui backfill bench check fix hooks docs picture lock clean

help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "flakelag needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the locked dependencies into $(VENV); the first time takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

report: $(INSTALLED) ## Read the fleet database (or the demo fleet), publish, and say how the fleet stands.
	@$(BIN)/flakelag report

test: $(INSTALLED) ## Run the whole test suite, on as many processes as there are processors.
	@$(BIN)/python -m pytest $(PARALLEL)

unit: $(INSTALLED) ## Run the unit tests.
	@$(BIN)/python -m pytest $(PARALLEL) tests/unit

ui: $(INSTALLED) ## Start the Dagster UI and daemon on 127.0.0.1:3000.
	@$(BIN)/flakelag ui

backfill: $(INSTALLED) ## Publish past days: make backfill FROM=2026-01-01 [TO=2026-03-31]
	@test -n "$(FROM)" || { echo "Say from which day: make backfill FROM=2026-01-01 [TO=2026-03-31]"; exit 2; }
	@$(BIN)/flakelag backfill --from "$(FROM)" $(if $(TO),--to "$(TO)")

bench: $(INSTALLED) ## Time the computations beside hand-written SQL: make bench [BENCH="--systems 20000"]
	@$(BIN)/python -m tests.benchmark $(BENCH)

check: $(INSTALLED) ## Lint, check format, spelling and types, and look for secrets.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/typos
	@PRE_COMMIT_HOME=$(VENV)/pre-commit $(BIN)/pre-commit run secrets --all-files
	@$(BIN)/mypy

fix: $(INSTALLED) ## Format the code, and mend what the linter can mend by itself.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

hooks: $(INSTALLED) ## Let git look at each commit before it is made, with .pre-commit-config.yaml.
	@$(BIN)/pre-commit install

docs: $(INSTALLED) ## Renew the pages under docs/ that are derived from the code.
	@$(BIN)/python -m pipelines.documentation

picture: $(INSTALLED) ## Renew the README's picture of the lineage (needs chromium).
	@FLAKELAG_PICTURE=docs/lineage.png $(BIN)/python -m pytest -q tests/browser/test_dagster_ui.py -k left_to_right

lock: ## Renew requirements.lock (needs uv).
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-strip-extras --custom-compile-command "make lock" \
	  --quiet --output-file requirements.lock

clean: ## Remove the virtual environment, the reports and everything under var/.
	rm -rf $(VENV) reports var
