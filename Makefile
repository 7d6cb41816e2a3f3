# Every target installs what it lacks, so each works in a fresh clone. `make` alone lists them.

BIN := .venv/bin
# The tests of one file run one after another, files side by side.
JOBS ?= $(shell nproc)
# Seconds that `make fuzz` spends on each target.
TIME ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test check format fuzz bench simulation test-versions lock clean sbom soak

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what enrollctl needs, into .venv
	@.ci/setup run

setup-test: ## Install what the tests and checks need as well
	@.ci/setup test

demo: setup ## See a whole enrollment with a CA of its own, on this machine only
	@$(BIN)/enrollctl demo

test: setup-test ## Run every test; ARGS="-k name" picks some, JOBS=1 runs them one by one
	@$(BIN)/pytest --numprocesses=$(JOBS) --dist=loadfile $(ARGS)

check: setup-test ## Lint, check types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup-test ## Put the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

fuzz: setup-test ## Fuzz everything that reads octets, TIME=60 seconds each; ARGS="message http" picks some
	@$(BIN)/python -m tests.fuzz --seconds=$(TIME) $(ARGS)

bench: setup-test ## Run the benchmarks; ARGS="enrollment cli" picks some, --write puts them into docs/performance.md
	@$(BIN)/python -m tests.benchmarks $(ARGS)

simulation: setup-test ## Let 100,000 agents live three years; writes docs/fleet.md and its picture
	@$(BIN)/python -m pip --disable-pip-version-check -qq install --constraint .ci/constraints.txt --editable '.[dev,plots]'
	@$(BIN)/python -m tests.simulation

deb: setup-test ## Build the Debian package, for this release of Debian, into dist/
	@packaging/build-deb

test-versions: ## Test with Python 3.11, 3.12 and 3.13; PYTHONS="3.11 3.13" picks some
	@.ci/versions $(PYTHONS)

lock: ## Pin the newest versions of all packages in .ci/constraints.txt
	@.ci/lock

soak: TIME := 600
soak: setup-test ## Let enrolld live through ten minutes of kills and faults; writes docs/soak.md. TIME=60 takes a minute
	@$(BIN)/python -m tests.soak $(TIME)

sbom: setup ## Write the list of what enrolld brings along (CycloneDX) to dist/
	@$(BIN)/python packaging/sbom.py

clean: ## Remove virtual environments, caches and builds
	rm -rf .venv .venvs dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find agent hsm tests -name __pycache__ -prune -exec rm -rf {} +
