# One command for each thing; `make help` lists them. Everything installs what it needs, once, into .venv.

MODEL ?= default
BENCH ?= all
VENV := .venv
INTEROP := .venv-interop
MORE := .venv-interop-more
SERVERS := .venv-mcp
DOJO := .venv-dojo
BIN := $(VENV)/bin
MAKEFLAGS += --no-print-directory

# What is said about installing goes to standard error: standard output is the programs' own, and so is standard input.
PIP_FLAGS := install -qq --no-input --disable-pip-version-check
HASHED := --require-hashes -r requirements
say = echo "$(1)" >&2
# The first of these that is a Python we support and can make environments.
PYTHONS := python3 python3.13 python3.12 python3.11 python
FITS := import ensurepip, sqlite3, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
define make_venv
	@for python in $(PYTHONS); do \
		if $$python -c "$(FITS)" 2>/dev/null; then exec $$python -m venv $(1) </dev/null >&2; fi; \
	done; \
	$(call say,LLMAgentOS needs Python 3.11 to 3.13 with venv and sqlite3: install one (Debian: python3.12-venv) and try again); \
	exit 1
endef

# An environment of its own: what a lock holds, and us. Most of that is never imported, so it is not compiled beforehand.
define fill_venv
	@$(call say,installing $(3) into $(1) ...)
	@$(1)/bin/pip $(PIP_FLAGS) --no-compile $(HASHED)/build.txt $(HASHED)/$(2).txt </dev/null >&2
	@$(1)/bin/pip $(PIP_FLAGS) --no-deps --no-build-isolation -e . </dev/null >&2
	@touch $@
endef

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow test-mcp test-dojo test-properties test-interop test-all lint bench docs locks
.PHONY: check-types check-rest torch envs web check-web

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(VENV)/run.stamp ## make .venv with everything `run` needs
	@$(call say,installed in $(VENV))

run: $(VENV)/run.stamp ## start the system and chat: MODEL=default, small or tiny
	@$(BIN)/llmagent-os up --chat --model $(MODEL)

lint: $(VENV)/test.stamp ## style, types, import contracts, budgets, duplicates, reference pages
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(MAKE) -j 2 check-types check-rest # what takes a minute, beside what takes another

check-types:
	@$(BIN)/mypy

check-rest:
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/duplicates.py
	@$(BIN)/python scripts/budgets.py
	@$(BIN)/python scripts/handlers.py
	@$(BIN)/python scripts/docs_reference.py --check

test: lint ## lint, then the tests that are quick
	@$(BIN)/llmagent-os models pull tiny </dev/null
	@$(BIN)/pytest -n 2 --dist worksteal -m "not model and not slow and not torch and not interop"
	@$(BIN)/pytest -m "model and not slow and not torch and not interop" # alone: its threads want every core

test-slow: torch ## the tests that take long or need torch
	@$(BIN)/llmagent-os models pull tiny </dev/null
	@$(BIN)/pytest -n 2 -m "(slow or torch) and not interop"

test-mcp: $(VENV)/test.stamp $(SERVERS)/stamp ## MCP servers that are not ours, over stdio and HTTP
	@$(BIN)/pytest tests/scenario/test_mcp.py

test-dojo: $(DOJO)/stamp ## AgentDojo's attacks on our door, a few of each kind
	@$(DOJO)/bin/pytest tests/scenario/test_agentdojo.py

test-properties: $(VENV)/test.stamp ## what scheduler and processes promise, on 10,000 random runs each
	@LLMAGENT_OS_EXAMPLES=10000 $(BIN)/pytest tests/unit/test_scheduler_properties.py tests/unit/test_process_properties.py

test-interop: $(INTEROP)/stamp $(MORE)/stamp ## other agent frameworks, unmodified, against /v1
	@$(INTEROP)/bin/pytest -m interop --disable-warnings tests/interop
	@$(MORE)/bin/pytest -m interop --disable-warnings tests/interop

test-all: test test-slow test-mcp test-dojo test-properties test-interop ## every test there is

bench: $(VENV)/run.stamp ## measure: BENCH=name for one of them
	@$(BIN)/llmagent-os bench $(BENCH)

docs: $(VENV)/docs.stamp ## build the documentation into site/
	@$(BIN)/mkdocs build --quiet --strict

web: web/node_modules/stamp ## build the desktop (takes Node 20 or newer; what it makes is committed)
	@npm --prefix web run --silent build >&2

check-web: web/node_modules/stamp ## the desktop's types, and that what is committed is what its source makes
	@npm --prefix web run --silent check
	@npm --prefix web run --silent build -- --outDir ../build/desktop --emptyOutDir >&2
	@diff -rq build/desktop src/llmagent_os/gateway/desktop || \
		{ $(call say,the desktop that is committed is not what web/ makes: run \`make web\` and commit); exit 1; }

web/node_modules/stamp: web/package-lock.json
	@command -v npm >/dev/null || { $(call say,the desktop is built with Node 20 or newer and npm: install them and try again); exit 1; }
	@npm --prefix web ci --silent --no-audit --no-fund --ignore-scripts >&2
	@touch $@

torch: $(VENV)/torch.stamp # what `test-slow` needs beside the rest

envs: $(SERVERS)/stamp $(DOJO)/stamp $(INTEROP)/stamp $(MORE)/stamp # what runs other people's programs

locks: $(VENV)/test.stamp ## resolve requirements/ again (asks the package index)
	@PATH="$(abspath $(BIN)):$$PATH" sh scripts/lock.sh

$(BIN)/python:
	@$(call say,making $(VENV) ...)
	$(call make_venv,$(VENV))

$(VENV)/run.stamp: requirements/build.txt requirements/run.txt pyproject.toml | $(BIN)/python
	@$(call say,installing LLMAgentOS and the local engine (once; 34 MB to download) ...)
	@$(BIN)/pip $(PIP_FLAGS) $(HASHED)/build.txt $(HASHED)/run.txt </dev/null >&2
	@$(BIN)/pip $(PIP_FLAGS) --no-deps --no-build-isolation -e . </dev/null >&2
	@touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/run.stamp
	@$(call say,installing what the tests need ...)
	@$(BIN)/pip $(PIP_FLAGS) --no-compile --no-deps $(HASHED)/test.txt </dev/null >&2 # a whole lock but for axe.in
	@touch $@

# torch alone carries no hashes: which build is right depends on the machine.
$(VENV)/torch.stamp: requirements/transformers.txt $(VENV)/test.stamp
	@$(call say,installing torch and transformers ...)
	@$(BIN)/pip $(PIP_FLAGS) --no-compile torch==2.13.0 </dev/null >&2
	@$(BIN)/pip $(PIP_FLAGS) --no-compile $(HASHED)/transformers.txt </dev/null >&2
	@touch $@

$(VENV)/docs.stamp: requirements/docs.txt $(VENV)/run.stamp
	@$(call say,installing what the documentation needs ...)
	@$(BIN)/pip $(PIP_FLAGS) --no-compile $(HASHED)/docs.txt </dev/null >&2
	@touch $@

$(SERVERS)/bin/python $(INTEROP)/bin/python $(MORE)/bin/python $(DOJO)/bin/python: %/bin/python:
	$(call make_venv,$*)

$(SERVERS)/stamp: requirements/mcp-servers.txt | $(SERVERS)/bin/python
	@$(call say,installing MCP servers into $(SERVERS) ...)
	@$(SERVERS)/bin/pip $(PIP_FLAGS) --no-compile $(HASHED)/mcp-servers.txt </dev/null >&2
	@touch $@

$(INTEROP)/stamp: requirements/interop.txt | $(INTEROP)/bin/python
	$(call fill_venv,$(INTEROP),interop,the other frameworks)

$(MORE)/stamp: requirements/interop-more.txt | $(MORE)/bin/python
	$(call fill_venv,$(MORE),interop-more,more of the other frameworks)

$(DOJO)/stamp: requirements/dojo.txt | $(DOJO)/bin/python
	$(call fill_venv,$(DOJO),dojo,AgentDojo)

$(INTEROP)/stamp $(MORE)/stamp $(DOJO)/stamp: requirements/build.txt pyproject.toml
