# The commands of this project. They need python3 (3.11 or later), make and a package index, and build the rest themselves.
#
#   make test PYTHON=python3.13       another interpreter, in a virtual environment of its own (.venv-3.13)
#   make test ARGS="-k supervision"   words for pytest; `make bench ARGS="L1 L2"` likewise
#   make test JOBS=0 ARGS="-s"        in one process, so that you see what tests print

PYTHON ?= python3
ARGS :=
# Processes that share the tests: one more than there are cores, for many tests wait for processes of their own.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 1, 7) + 1)')

RUN_EXAMPLES := examples/01_hello.py examples/02_counter.py examples/03_supervision.py

# The default interpreter lives in .venv, one that was asked for in .venv-MAJOR.MINOR.
ifeq ($(origin PYTHON),file)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

BIN := $(VENV)/bin
READY := $(VENV)/.ready

TOO_OLD := autonomy needs Python 3.11 or later; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.13

# The theme prints an advertisement otherwise.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench docs soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## build the virtual environment

run: $(READY) ## run the examples hello, counter and supervision, and a zone of two nodes
	@for example in $(RUN_EXAMPLES); do \
	    printf '\n--- %s\n' "$$example"; \
	    AUTONOMY_WAIT_UNTIL_INTERRUPTED=0 $(BIN)/python "$$example" || exit 1; \
	done
	@printf '\n--- examples/multinode\n'
	@sh tools/run_zone.sh $(BIN)/autonomy examples/multinode

test: $(READY) ## run the tests (minutes)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## run everything that a commit must pass
	VENV=$(VENV) ./check $(ARGS)

bench: $(READY) ## measure the library against hand-written Trio
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## build the documentation into site/
	$(BIN)/python -m mkdocs build --strict $(ARGS)

soak: $(READY) ## run the tests that take minutes each
	AUTONOMY_SOAK=1 $(BIN)/python -m pytest -m soak $(ARGS)

clean: ## remove whatever these commands made
	rm -rf .venv .venv-* site dist .coverage .coverage.* .hypothesis .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Built again only when pyproject.toml is newer.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("$(TOO_OLD)" % v)'
	@echo "Building $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[cli,etcd,fastapi,testing,tests,tools,docs]'
	@touch $@
