# The one door. `make help` lists what it opens; every target sets up what it needs, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

RUST_MINIMUM := 1.95
NODE_MINIMUM := 20
# The first interpreter on the path that numba and coincurve have wheels for; asked for only when .venv is made.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11; do \
    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then echo "$$python"; break; fi; done)
export HOME := $(or $(HOME),$(shell cd ~ && pwd))
export PATH := $(CURDIR)/.venv/bin:$(HOME)/.cargo/bin:/usr/local/bin:$(or $(PATH),/usr/bin:/bin)
export VIRTUAL_ENV := $(CURDIR)/.venv
# pycryptodome, where something brings it along, is five times slower.
export ETH_HASH_BACKEND := pysha3
# A caller's own interpreter or packages must not reach into .venv.
unexport PYTHONPATH PYTHONHOME

BIN := .venv/bin
NATIVE := native/Cargo.toml
FUZZ_SECONDS := 60
FUZZ_TARGETS = $(notdir $(wildcard tests/fuzz/corpus/*))
NATIVE_SOURCES := native/Cargo.toml native/Cargo.lock $(shell find native/src -name '*.rs' 2>/dev/null)

.PHONY: help run demo test nightly lint bench clean fuzz clients contracts eels install lock check-python check-rust check-node

help: ## this list
	@echo "make <target>; Python and Rust packages are set up on first use (about 4 minutes)"
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | while IFS='|' read -r name text; do printf '  %-9s %s\n' "$$name" "$$text"; done

run: install ## replay, import, verify backwards, tamper, prove: the tour over the blocks in examples/
	@$(BIN)/python examples/run.py

demo: install ## 200 traders on one pool: a validator and two coordinators as processes, wallets over HTTP (2 minutes)
	@$(BIN)/python -m examples.amm.demo

test: install clients ## what CI runs: every test at its everyday size
	@$(BIN)/python -m pytest

nightly: install clients ## the same tests at their full size, and those too long for every change
	@MANAFLOW_NIGHTLY=1 $(BIN)/python -m pytest

lint: install ## format, lints and types of Python and Rust, and the native stub against the library
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/python -m mypy.stubtest manaflow._native --mypy-config-file pyproject.toml
	cargo fmt --manifest-path $(NATIVE) --check
	cargo clippy --manifest-path $(NATIVE) --locked --release --all-targets -- -D warnings
	@if grep -rqs --include='*.rs' '#\[test\]' native/src native/tests; then set -x; cargo test --manifest-path $(NATIVE) --locked --release --quiet; fi

bench: install benchmarks/clients/node_modules/.lock ## every benchmark at a small size
	@for benchmark in $(sort $(wildcard benchmarks/*.py)); do echo "== $$benchmark"; $(BIN)/python "$$benchmark"; done

fuzz: install .venv/.fuzz ## every decoder on hostile input, FUZZ_SECONDS (60) each; ends at a finding, which stays in out/fuzz
	@mkdir -p $(addprefix out/fuzz/,$(FUZZ_TARGETS))
	@for target in $(FUZZ_TARGETS); do \
	    echo "== $$target"; \
	    $(BIN)/python -m tests.fuzz.fuzz "$$target" "out/fuzz/$$target" "tests/fuzz/corpus/$$target" -artifact_prefix="out/fuzz/$$target-" \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -max_len=65536 -verbosity=0 -print_final_stats=1; \
	done

clients: tests/clients/node_modules/.lock ## set up other people's clients (ethers, viem), which tests run

contracts: out/solc/.installed ## compile the demo's contracts anew (npm's solc); the bytecode is kept with its source
	NODE_PATH=out/solc/node_modules node examples/amm/contracts/build.mjs

eels: .venv-eels/.lock ## set up Ethereum's executable specification (EELS), which `nightly` compares the engines with

clean: ## remove the environment, builds, caches and out/
	rm -rf .venv .venv-eels tests/clients/node_modules benchmarks/clients/node_modules out build dist native/target .mypy_cache .ruff_cache .pytest_cache .hypothesis manaflow/_native*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up, done once and again when its inputs change ----

install: .venv/.native

lock: .venv/.lock # after a change of dependencies in pyproject.toml: write requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes -o requirements.lock
	$(BIN)/uv pip compile --group fuzz --universal --generate-hashes -o tests/fuzz/requirements.lock

.venv/bin/python:
	@$(MAKE) check-python check-rust
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "error: $(PYTHON) could not create .venv (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }

.venv/.lock: requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.fuzz: tests/fuzz/requirements.lock .venv/.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r tests/fuzz/requirements.lock
	@touch $@

.venv/.native: $(NATIVE_SOURCES) pyproject.toml .venv/.lock
	@$(MAKE) check-rust
	@# No index: every dependency must have come from requirements.lock.
	PIP_QUIET=1 PIP_NO_INDEX=1 $(BIN)/maturin develop --quiet --release --locked --manifest-path $(NATIVE)
	@touch $@

.venv-eels/.lock: tests/evm/eels/requirements.lock tests/evm/eels/setup
	@$(MAKE) check-python
	@PYTHON=$(PYTHON) VIRTUAL_ENV= tests/evm/eels/setup
	@touch $@

tests/clients/node_modules/.lock: tests/clients/package-lock.json
	@$(MAKE) check-node
	cd tests/clients && npm ci --loglevel=error --no-audit --no-fund --ignore-scripts
	@touch $@

# Not `npm ci`: it refuses a lock without the binaries for other platforms, which not every registry has.
benchmarks/clients/node_modules/.lock: benchmarks/clients/package-lock.json
	@$(MAKE) check-node
	cd benchmarks/clients && npm install --no-save --loglevel=error --no-audit --no-fund --ignore-scripts
	@touch $@

out/solc/.installed:
	@$(MAKE) check-node
	npm install --no-save --loglevel=error --no-audit --no-fund --ignore-scripts --prefix out/solc solc@0.8.30
	@touch $@

check-python:
	@[ -n "$(PYTHON)" ] || { echo "error: Manaflow needs Python 3.11, 3.12 or 3.13, and finds $$(python3 --version 2>&1 | tail -n 1); name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }

check-rust:
	@command -v cargo >/dev/null && command -v rustc >/dev/null \
	    || { echo "error: Manaflow needs Rust $(RUST_MINIMUM) or newer, and cargo is not on the path: https://rustup.rs" >&2; exit 1; }
	@found=$$(rustc --version | cut -d' ' -f2); \
	[ "$$(printf '%s\n' $(RUST_MINIMUM) "$$found" | sort -V | head -n 1)" = "$(RUST_MINIMUM)" ] \
	    || { echo "error: Manaflow needs Rust $(RUST_MINIMUM) or newer, found $$found: rustup update stable" >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null \
	    || { echo "error: Manaflow needs a C compiler ($${CC:-cc} is not on the path), e.g. apt-get install build-essential" >&2; exit 1; }

check-node:
	@command -v node >/dev/null && command -v npm >/dev/null \
	    || { echo "error: the tests need node $(NODE_MINIMUM) or newer with npm, which are not on the path: https://nodejs.org" >&2; exit 1; }
	@found=$$(node --version | tr -d v | cut -d. -f1); \
	[ "$$found" -ge $(NODE_MINIMUM) ] || { echo "error: the tests need node $(NODE_MINIMUM) or newer, found $$(node --version)" >&2; exit 1; }
