# Everything a newcomer needs: `make demo` and `make test`. On a fresh Debian 12 with Python 3.11, g++, make and git.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find cpp bindings cmake python -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml README.md
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test bench lint clean

demo: $(VENV)/.installed
	python bench/demo.py

test: $(VENV)/.installed-test
	cmake --preset cpp
	cmake --build --preset cpp
	ctest --preset cpp
	python -m pytest

bench: $(VENV)/.installed
	pip install --quiet '.[bench]'
	python -m pytest bench/throughput
	python bench/memory.py

lint: $(VENV)/.installed-test
	pip install --quiet '.[lint,bench]'
	.ci/lint

clean:
	rm -rf build dist $(VENV)

$(VENV)/.created:
	.ci/system-packages build $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	pip install .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	.ci/system-packages test $(PYTHON)
	pip install --quiet cmake ninja '.[test]'
	touch $@
