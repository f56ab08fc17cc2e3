# Each target works as the first command in a fresh clone. `make help` lists them.
#
# PYTHON            the Python that .venv is created with (3.11 or newer)
# TORCH_INDEX_URL   package index for torch, such as that of PyTorch's CPU wheels (default: pip's)
# ARGS              extra flags for the command, as in make train ARGS="--preset tutorial --seed 3"
# PORT              where `make up` and `make serve` listen (8000)
# EVERY             interval of the retraining rounds in `make up` (15m)
# METRICS_PORT      port of the retraining job's metrics in `make up` (8001; 0: none)
# CONTAINER_TOOLS   a folder with `make-base` and `build`, for machines without a Docker daemon
# IMAGE             name of the container image
# BENCHMARKS        the benchmarks that `make benchmark` runs (seeds tutorial serving batches client)

PYTHON ?= $(or $(shell command -v python3.11),python3)
TORCH_INDEX_URL ?=
ARGS ?=
PORT ?=
CONTAINER_TOOLS ?= ../shared/tools/container
IMAGE ?= dqn-policy-server
BENCHMARKS ?= seeds tutorial serving batches client

BIN := .venv/bin
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadscope --no-loadscope-reorder
TORCH := $(shell grep '^torch==' constraints.txt)
build_image := $(if $(wildcard $(CONTAINER_TOOLS)/build),$(CONTAINER_TOOLS)/make-base && $(CONTAINER_TOOLS)/build,docker build --tag)

export PORT EVERY METRICS_PORT CONTAINER_TOOLS IMAGE

.DEFAULT_GOAL := help
.PHONY: help install train serve retrain up test test-fast test-long coverage check format generate benchmark image test-image clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo; sed -n 's/^# \([A-Z_]\{4,\}  *.*\)/  \1/p' $(firstword $(MAKEFILE_LIST))

install: .venv/installed ## create .venv with everything in it; skipped if nothing changed

# What training and serving need. Without --no-compile, pip compiles all modules; Python compiles those it runs, later.
.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make install PYTHON=...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --no-compile $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) $(TORCH)
	$(BIN)/pip install --no-compile -e '.[train,serve]' -c constraints.txt
	@touch $@

.venv/installed: .venv/run
	$(BIN)/pip install --no-compile -e '.[client,dev,otel,serve,train]' -c constraints.txt
	@touch $@

train: .venv/run ## train a policy and publish it (ARGS="--preset tutorial --seed 3")
	$(BIN)/dqn-train $(ARGS)

serve: .venv/run ## serve the published policies
	$(BIN)/dqn-serve $(if $(PORT),--port $(PORT)) $(ARGS)

retrain: .venv/run ## train challengers and promote those that pass the gate, every 15 minutes (ARGS=--once: one round)
	$(BIN)/dqn-retrain $(if $(filter --once% --every%,$(ARGS)),,--every 15m) $(ARGS)

up: .venv/run ## train a first policy if there is none, serve it and retrain it until Ctrl-C
	@$(BIN)/python scripts/up.py $(ARGS)

test: install ## run the tests (ARGS="-k tokens": only some)
	$(PYTEST) -m "not container and not long" $(ARGS)

test-fast: install ## run only the quick tests
	$(PYTEST) -m "not container and not long and not slow" $(ARGS)

test-long: install ## run the tests that take minutes: many kills, and clients and servers installed for them
	$(PYTEST) -m long $(ARGS)

coverage: install ## run `make test` with branch coverage, which must reach a floor
	$(PYTEST) -m "not container and not long" --cov $(ARGS)

check: install ## static checks: format, lint, types, layers, generated files, pins
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/code_map.py --check
	@! $(BIN)/pip freeze --exclude-editable | sed 's/+.*//' | grep -vixFf constraints.txt | grep -vE '^(nvidia|cuda|triton)' \
	  || { echo "The packages above are not pinned in constraints.txt."; exit 1; }

format: install ## format the code and apply the linter's fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

generate: install ## generate the blocking client and ARCHITECTURE.md's code map
	$(BIN)/python scripts/unasync.py
	$(BIN)/python scripts/code_map.py

benchmark: install ## run the benchmarks that the documents quote (BENCHMARKS=serving: only that)
	@for name in $(BENCHMARKS); do $(BIN)/python "benchmarks/$$name.py" $(ARGS) || exit; done

image: ## build the container image of the server
	$(build_image) $(IMAGE) --target serving .

test-image: install ## build the image, run it and play with its policy
	$(BIN)/pytest -m container $(ARGS)

clean: ## remove .venv, caches and builds; published models are kept
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
