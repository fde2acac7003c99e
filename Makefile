# Everything runs in .venv, which the first command makes. After that, source
# changes take effect by themselves; what is installed is looked at again only
# when setup.py or pyproject.toml changes.

VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet
INSTALL = $(PIP) --editable
# The checks need some 170 packages, which older versions of pip take long to put together.
INSTALL_MANY = $(PIP) 'pip>=25.1' && $(INSTALL)
METADATA := setup.py pyproject.toml

# PYTHON=… names another interpreter, ARGS=… passes options on to the server
# or the benchmarks.
PYTHON ?= python3
ARGS ?=

# Processes that share the tests.
JOBS ?= 2
TEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# How long the soak takes.
SOAK_SECONDS ?= 3600

# Tests that run once more over Twisted's own HTTP parts: server.http is stock.
# Those of tests/transport/http, and of the hot routes, run over both at once.
OVER_STOCK := tests/web tests/integration/test_streams.py \
	--ignore=tests/web/test_hot_routes.py

.DEFAULT_GOAL := help
.PHONY: help run test coverage fuzz lint types providers bench soak docs reference dist clean

help:
	@echo 'make run    start the server (ARGS="--config my.yaml" for options)'
	@echo 'make test   run all tests'
	@echo 'make coverage  the same, and tell which branches no test takes: twice as long'
	@echo 'make fuzz   fuzz the HTTP parsers for an hour, or FUZZ_SECONDS'
	@echo 'make lint   check style and imports'
	@echo 'make types  check types'
	@echo 'make providers  write the table of docs/providers.md from what the tests show'
	@echo 'make bench  run the benchmarks (ARGS=--quick for a short run)'
	@echo 'make soak   an hour of mixed load with faults, or SOAK_SECONDS'
	@echo 'make docs   build the documentation into docs/_build'
	@echo 'make reference  write the tables of the configuration and of the README anew'
	@echo 'make dist   build wheel, sdist, bill of materials and checksums into dist'
	@echo 'make clean  remove what the others made'

run: $(VENV)/installed
	$(BIN)/twistd -n --pidfile= aiproxy $(ARGS)

test: $(VENV)/installed-test
	$(TEST)
	AIPROXY_TEST_HTTP=stock $(TEST) -q $(OVER_STOCK)

coverage: $(VENV)/installed-test
	$(TEST) --cov

fuzz: $(VENV)/installed-test
	$(BIN)/python -m tests.fuzz

lint: $(VENV)/installed-lint
	$(BIN)/ruff check

types: $(VENV)/installed-lint
	$(BIN)/mypy

providers: $(VENV)/installed-test
	$(BIN)/python -m pytest -q --provider-table

bench: $(VENV)/installed
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/installed
	$(BIN)/python -m bench.soak --seconds $(SOAK_SECONDS) $(ARGS)

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html'

reference: $(VENV)/installed
	$(BIN)/python docs/reference.py
	$(BIN)/python -m bench.readme

dist: $(VENV)/installed-dist
	PYTHON=$(BIN)/python deploy/dist.sh

clean:
	rm -rf $(VENV) build dist docs/_build htmlcov *.egg-info .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache _trial_temp*
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# The first interpreter that is new enough and can make environments. Each is
# tried and not just looked up: a version manager's stand-ins may refuse to run.
$(VENV)/created:
	@old=; bare=; \
	for python in $(PYTHON) python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
			|| continue; \
		if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
			old="$$version"; \
		elif ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
			bare="$${bare:-$$version}"; \
		else \
			echo "Making $(VENV) with Python $$version"; \
			"$$python" -m venv $(VENV) && touch $@; \
			exit; \
		fi; \
	done; \
	if [ -n "$$bare" ]; then \
		echo "Python $$bare lacks its venv module. On Debian and Ubuntu it comes with:"; \
		echo "    apt-get install python3-venv    (or python$$bare-venv)"; \
	elif [ -n "$$old" ]; then \
		echo "aiproxy needs Python 3.11 or newer; the one found is $$old."; \
		echo "Install a newer one, or name it: make PYTHON=/path/to/python3"; \
	else \
		echo "aiproxy needs Python 3.11 or newer; no python3 was found. On Debian and Ubuntu:"; \
		echo "    apt-get install python3 python3-venv"; \
	fi >&2; \
	exit 1

$(VENV)/installed: $(METADATA) | $(VENV)/created
	@echo 'Installing aiproxy into $(VENV)'
	@$(INSTALL) '.[terminal]' && touch $@

$(VENV)/installed-test: $(METADATA) | $(VENV)/created
	@echo 'Installing aiproxy and what its tests need into $(VENV)'
	@$(INSTALL_MANY) '.[test]' && touch $@ $(VENV)/installed

# The type checker reads the tests too, so it needs what they import.
$(VENV)/installed-lint: $(METADATA) | $(VENV)/created
	@echo 'Installing aiproxy and what its checks need into $(VENV)'
	@$(INSTALL_MANY) '.[test,lint]' && touch $@ $(VENV)/installed $(VENV)/installed-test

$(VENV)/installed-docs: $(METADATA) | $(VENV)/created
	@echo 'Installing aiproxy and what its documentation needs into $(VENV)'
	@$(INSTALL) '.[docs,terminal]' && touch $@ $(VENV)/installed

$(VENV)/installed-dist: $(METADATA) | $(VENV)/created
	@echo 'Installing what a release needs into $(VENV)'
	@$(INSTALL) '.[dist,terminal]' && touch $@ $(VENV)/installed
