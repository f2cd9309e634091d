# The two commands a newcomer needs: `make findings` and `make test`.
# Needs only Python 3.11 to 3.13, make and git; everything else goes into .venv. With `make ... ENV=conda` it is an
# environment of conda (or mamba, micromamba) in .conda, made from environment.yml, and no Python need be there before.

.PHONY: help findings site test check setup simulators compiled lint lock bench clean
.DEFAULT_GOAL := help

ENV ?= venv
VENV := $(if $(filter conda,$(ENV)),.conda,.venv)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first interpreter of a supported version; override with `make setup PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# The first of these that is there; override with `make setup ENV=conda CONDA=/path/to/one`.
CONDA ?= $(shell for c in conda mamba micromamba; do command -v $$c && break; done)

help:
	@echo "Times are of two cores. What needs the environment creates it first if it is missing: a minute more."
	@echo "make findings   (1 min)  regenerate every finding into reports/"
	@echo "make site       (10 s)   pages, tables and plots of the findings as found in reports/, for a browser: site/index.html"
	@echo "make test       (7 min)  run the tests"
	@echo "make check      (1 min)  regenerate everything into results/ and compare with reports/ as found"
	@echo "make setup      (1 min)  only create the environment (.venv), or bring it up to date; what you installed there stays"
	@echo "make ... ENV=conda       the same with an environment of conda in .conda, made from environment.yml"
	@echo "make simulators (minutes) install simulators of others that hypotheses compare with; nothing else needs them"
	@echo "make compiled   (1 min)  translate the simulator to machine code again, after an edit of its sources"
	@echo "make lint       (15 s)   ruff, snakefmt, snakemake --lint and the experiment standards"
	@echo "make bench      (minutes) how fast it is"
	@echo "make lock       (10 s)   pin every dependency again, with uv"
	@echo "make clean      (1 s)    remove the environment, results/ and site/"

setup: compiled

# What is there stays there: packages are installed on top, and only an environment that does not work is made anew.
.venv/.ready: requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 with venv found; install one or run 'make setup PYTHON=/path/to/python'" >&2; exit 1; }
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; \
	then echo "bringing $(VENV) up to date with requirements.lock"; \
	else echo "creating $(VENV) with $$($(PYTHON) --version) and the packages of requirements.lock (about a minute)"; \
		$(PYTHON) -m venv --clear $(VENV); fi
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.conda/.ready: environment.yml
	@test -n "$(CONDA)" || { echo "error: no conda, mamba or micromamba found; install one, or leave ENV=conda away" >&2; exit 1; }
	@if test -x $(BIN)/python; \
	then echo "bringing $(VENV) up to date with environment.yml"; command="env update"; \
	else echo "creating $(VENV) with the packages of environment.yml (some minutes)"; command="env create"; fi; \
	CONDA_ALWAYS_YES=true MAMBA_ALWAYS_YES=true $(CONDA) $$command --prefix $(CURDIR)/$(VENV) --file environment.yml
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Simulators of others, each in an environment of its own beside ours: configs/simulators/NAME.txt lists what it needs.
simulators: $(patsubst configs/simulators/%.txt,.simulators/%/.ready,$(wildcard configs/simulators/*.txt))

.simulators/%/.ready: configs/simulators/%.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 with venv found; install one or run 'make simulators PYTHON=/path/to/python'" >&2; exit 1; }
	@echo "installing $* into $(@D) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check -qq install -r $<
	@touch $@

# Engine and step times as machine code where a C compiler is found, else one line that says why not; nothing to
# do where these sources are compiled already.
compiled: $(READY)
	@$(BIN)/python -m simulator compile

findings: compiled
	@$(BIN)/snakemake --forceall

site: compiled
	@$(BIN)/snakemake site

test: compiled
	@$(BIN)/python -m pytest -n auto --maxprocesses 8

check: compiled
	@$(BIN)/snakemake check --forceall

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint
	@$(BIN)/roofline-lab lint

# Needs uv; pins every dependency for all supported Python versions at once.
lock:
	uv pip compile pyproject.toml --extra dev --extra site --universal --python-version 3.11 --no-header --no-annotate -o requirements.lock

bench: compiled
	@$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .conda results site .snakemake
