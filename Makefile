# Verbs of this checkout; `make help` lists them. Everything lives in .venv.
SHELL := /bin/bash
BIN := .venv/bin
INSTALLED := .venv/.installed

# A person on a display gets the window; CI and servers get the files.
UNAME := $(shell uname -s)
ifeq ($(HEADLESS),1)
DEMO_FLAGS := --headless
else ifeq ($(UNAME)$(DISPLAY),Linux)
DEMO_FLAGS := --headless
endif

# Processes that share the tests, file by file; as many cores are kept busy.
WORKERS ?= 2

# The tests bring a second Qt binding; the window takes the one that users get.
export QT_API ?= pyside6

.DEFAULT_GOAL := help
.NOTPARALLEL: # the test runner's closing line comes last
.PHONY: help demo test walk lint types contracts bench clean

help: ## list the verbs
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1@\2/p' Makefile \
		| awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## set up, then segment a real brain and show it (HEADLESS=1: files only)
	@$(BIN)/diffseg demo $(DEMO_FLAGS)

test: lint types contracts ## set up, then check style, types, contracts and run every test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not bench and not walk" \
		-n $(WORKERS) --dist loadfile --no-loadscope-reorder

walk: $(INSTALLED) ## go through whole loops in a real window, and kill one
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m walk

lint: $(INSTALLED) ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED) ## check types
	@$(BIN)/mypy

contracts: $(INSTALLED) ## check who may import whom
	@$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) ## time and weigh the main job and the window
	@$(BIN)/diffseg bench

clean: ## remove everything that was made here, .venv included
	rm -rf .venv build dist demo-out *.egg-info .*_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that broke off is not one.
$(INSTALLED): pyproject.toml .ci/install
	@bash .ci/install
	@touch $@
