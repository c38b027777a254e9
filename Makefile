# Everything a newcomer needs: `make demo` and `make test`. On a fresh Debian 12 with Python 3.11, g++, make and git.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find cpp bindings cmake python -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml

.PHONY: demo test bench lint clean

demo: $(VENV)/.installed
	$(BIN)/python bench/demo.py

test: $(VENV)/.installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset cpp
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset cpp
	PATH="$(CURDIR)/$(BIN):$$PATH" ctest --preset cpp
	$(BIN)/python -m pytest

bench: $(VENV)/.installed
	$(BIN)/pip install --quiet '.[bench]'
	$(BIN)/python -m pytest bench/throughput

lint: $(VENV)/.installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/lint

clean:
	rm -rf build dist $(VENV)

$(VENV)/.created:
	.ci/system-packages $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	$(BIN)/pip install --quiet .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet cmake ninja '.[test]'
	touch $@
