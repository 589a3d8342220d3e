# Every target creates the virtual environment .venv if it does not exist.
# Another interpreter:  make test PYTHON=python3.12      Another photo:  make demo PHOTO=mine.jpg
# Some of the tests:    make test TESTS=tests/masks

VENV  ?= .venv
OUT   ?= out/demo
PHOTO ?=
TESTS ?=
PART  ?=

ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
else
  BIN := $(VENV)/bin
endif

# The first interpreter that is 3.11 or newer and really starts.
FIND_PYTHON = for p in python3.11 python3.12 python3.13 python3 python; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
PYTHON ?= $(shell $(FIND_PYTHON))

PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

# The plug-ins need the packages of [dev]; hatchling builds them.
INSTALL_PLUGINS = $(PIP) --no-build-isolation --no-deps $(addprefix -e ./,$(wildcard contrib/anymask-*))

.DEFAULT_GOAL := help
.PHONY: help demo test test-core test-all ci browser coverage lint bench docs build plugins web clean

help:  ## show this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' Makefile | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

demo: $(VENV)/.core  ## segment three sample images (or PHOTO=...) with the bundled model
	$(BIN)/python demo/demo.py --out $(OUT) $(if $(PHOTO),--image "$(PHOTO)")

test: $(VENV)/.dev  ## run the quick tests of everything, in two processes (8 minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --ignore tests/house $(TESTS)

test-core: $(VENV)/.light  ## run the quick tests of the core, without PyTorch, server and browser
	ANYMASK_TEST_CORE=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --ignore tests/house $(or $(TESTS),tests)

test-all: $(VENV)/.dev  ## run all tests in parts (about an hour); PART=browser runs one of them
	$(BIN)/python .ci/test_all.py $(PART)

ci:  ## run .ci/run on HEAD in a fresh clone
	bash .ci/fresh

browser: $(VENV)/.dev  ## install a Chromium for the tests of the page, if none is installed
	@$(BIN)/python tests/web/chromium.py

coverage: $(VENV)/.dev  ## run all tests except the slow ones and print the code coverage
	$(BIN)/python -m pytest -m "not slow" --cov=anymask --cov-report=term:skip-covered $(TESTS)

lint: $(VENV)/.dev  ## run the gates: ruff, mypy, imports between rooms, size budgets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/house

bench: $(VENV)/.core  ## measure the speed of the bundled model on this machine
	$(BIN)/anymask bench

docs: $(VENV)/.docs  ## build the documentation site with its API reference and search into build/site
	$(BIN)/python -m docs.site.build

build: $(VENV)/.dev  ## build the wheel and the source archive into dist/
	$(BIN)/python -m hatchling build -d dist

plugins: $(VENV)/.dev  ## install the plug-ins of contrib/ into the environment of the tests
	@$(INSTALL_PLUGINS)

web:  ## build the labeling page and the JavaScript package (requires Node); WEBGPU=1 adds WebGPU
	cd web && npm ci && npm run build && npm test

clean:  ## remove the environment, caches and outputs (not runs/)
	rm -rf $(VENV) web/node_modules build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests demo contrib -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "anymask needs Python 3.11 or newer; none found: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A stamp says that this part is installed; a newer pyproject.toml or constraints.txt renews it.
$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "installing the core and the demo's photos into $(VENV) (once) ..."
	@$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.light: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "installing what the tests of the core need into $(VENV) (once) ..."
	@$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "installing what the documentation is built with into $(VENV) (once) ..."
	@$(PIP) -e ".[docs]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(wildcard contrib/anymask-*/pyproject.toml) | $(VENV)/pyvenv.cfg
	@echo "installing everything that the tests need into $(VENV) (once; torch is large) ..."
	@$(PIP) -e ".[torch,dev]"
	@$(INSTALL_PLUGINS)
	@touch $@ $(VENV)/.core $(VENV)/.docs $(VENV)/.light
