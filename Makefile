# plait: one short command per task; `make help` lists them.
# Needs a Rust toolchain and CPython 3.11 or later; everything else is put into .venv.

PYTHON  ?= python3
VENV    ?= .venv
# release is what users get; quick builds in a fraction of the time and serves the tests.
PROFILE ?= release
SUITES  ?=
ROWS    ?=
KEEP    ?=
SECONDS ?= 30

BIN      := $(VENV)/bin
NEED     := .ci/need
say       = @printf '\033[1m== %s\033[0m\n' "$(1)"
RUST_SRC := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
TOOLS    := $(VENV)/.tools
ENGINE   := $(VENV)/.engine-$(PROFILE)
# As pip does when it installs: else PYTHONDONTWRITEBYTECODE has plait, and only plait, compiled by each process that starts.
COMPILE   = $(BIN)/python -m compileall -q python/plait
NO_PYTHON := --workspace --exclude plait-engine

# An interpreter other than the first has a venv and a target directory of its own.
TAG       = $(shell $(PYTHON) .ci/tag.py)

export PIP_QUIET = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo build test test-rust test-loom test-pytest test-python test-all fuzz chaos conformance conformance-long bench lint format types wheel clean tools

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo:  ## build, then run a real program on the standard library and on plait
	@$(MAKE) --no-print-directory build PROFILE=release
	@$(COMPILE)
	$(call say,examples/codebase.py on the standard library and on plait)
	@$(BIN)/plait compare examples/codebase.py

build: $(ENGINE)  ## build plait into .venv

test:  ## everything: Rust tests, loom, lints, types, stubs, pytest, conformance
	@$(MAKE) --no-print-directory build lint types test-rust test-loom test-pytest conformance PROFILE=quick
	$(call say,all of it passed)

test-rust: tools  ## Rust tests; those of the engine with Python in them, where it is a library
	$(call say,cargo test)
	@cargo test -q $(NO_PYTHON)
	@.ci/engine-tests $(BIN)/python

test-loom: tools  ## the lock-free parts under loom: every interleaving of small programs
	$(call say,cargo test under loom)
	@RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=$${LOOM_MAX_PREEMPTIONS:-3} \
	  cargo test -q --profile quick -p plait-core -p plait-ring -p plait-reactor -p plait-shared --lib

test-pytest: $(ENGINE)  ## Python tests
	$(call say,pytest on $$($(BIN)/python -V))
	@.ci/pytest $(BIN)/python

conformance: $(ENGINE)  ## CPython's own tests on plait; SUITES="test_queue ..." picks some
	$(call say,CPython's own tests on plait)
	@$(BIN)/python -m conformance $(SUITES)

# libFuzzer and AddressSanitizer are in the stable compiler, behind a switch.
fuzz: tools  ## random bytes, led by coverage, for the ring's reader; SECONDS=300 makes it longer
	$(call say,fuzzing what reads shared memory for $(SECONDS) s)
	@mkdir -p target/fuzz/corpus
	@cd crates/ring/fuzz && RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=../../../target/fuzz RUSTFLAGS="-Zsanitizer=address -Ccodegen-units=1 \
	  -Cdebug-assertions -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters pc-table trace-compares)" \
	  cargo run -q --release --target $$(rustc -vV | sed -n 's/^host: //p') -- ../../../target/fuzz/corpus \
	  -artifact_prefix=../../../target/fuzz/ -max_total_time=$(SECONDS) -max_len=512 -verbosity=0 -print_final_stats=1

chaos: $(ENGINE)  ## kill, stop and harm workers while thousands of calls are made; SECONDS=300 makes it longer
	$(call say,chaos on $$($(BIN)/python -V))
	@$(BIN)/python tests/chaos.py --seconds $(SECONDS)

conformance-long: $(ENGINE)  ## the suites that take minutes too; not part of make test
	$(call say,CPython's own tests on plait, the long ones too)
	@$(BIN)/python -m conformance --long

test-python:  ## Python tests and conformance on one interpreter: PYTHON=python3.13
	@$(NEED) python "$(PYTHON)"
	@VENV=.venv-$(TAG) CARGO_TARGET_DIR=target/$(TAG) \
	  $(MAKE) --no-print-directory test-pytest conformance VENV=.venv-$(TAG) PROFILE=quick

test-all: test  ## make test, then test-python on every other CPython found
	@.ci/each-python

bench: ## plait against the standard library and its rivals, in one run; ROWS=loop,queue picks some, KEEP=1 keeps them
	@$(MAKE) --no-print-directory build PROFILE=release
	@$(COMPILE)
	$(call say,benchmarks: plait beside the standard library)
	@$(BIN)/python -m pip install -q --group bench || echo "the rivals could not be installed: rows without them say so"
	@$(BIN)/python -m benchmarks $(if $(ROWS),--rows "$(ROWS)") $(if $(KEEP),--keep)

lint: $(TOOLS)  ## rustfmt, clippy, ruff
	$(call say,cargo fmt)
	@cargo fmt --all --check
	$(call say,clippy)
	@PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy -q --workspace --all-targets -- -D warnings
	$(call say,ruff)
	@$(BIN)/ruff check

format: $(TOOLS)  ## mend formatting and what ruff can mend
	$(call say,cargo fmt and ruff --fix)
	@cargo fmt --all
	@$(BIN)/ruff check --fix

types: $(ENGINE)  ## mypy --strict, and the stubs against the modules that they describe
	$(call say,mypy)
	@$(BIN)/mypy
	$(call say,stubtest)
	@$(BIN)/stubtest plait._engine --allowlist tests/stubtest-allowlist.txt --ignore-disjoint-bases

wheel: $(TOOLS)  ## a wheel for this interpreter in dist/
	$(call say,wheel)
	@$(BIN)/maturin build --release --interpreter $(BIN)/python --out dist

clean:  ## remove what was built, the virtual environments among it
	$(call say,removing what was built)
	@rm -rf target dist .venv .venv-* .mypy_cache .ruff_cache .pytest_cache python/plait/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

tools:
	@$(NEED) rust

$(TOOLS): pyproject.toml
	@$(NEED) rust
	@$(NEED) python "$(PYTHON)"
	$(call say,tools into $(VENV))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install 'pip>=25.1'
	@$(BIN)/python -m pip install --group develop
	@touch $@

$(ENGINE): $(TOOLS) $(RUST_SRC)
	$(call say,building the engine ($(PROFILE)) into $(VENV))
	@rm -f $(VENV)/.engine-*
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop -q --profile $(PROFILE)
	@touch $@
