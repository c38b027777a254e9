# Everything a newcomer needs: `make demo` and `make test`. On a fresh Debian 12 with Python 3.11, g++, make and git.
SHELL := /bin/bash
PYTHON ?= python3
WERROR ?= OFF
VENV := .venv
BIN := $(VENV)/bin
# The extension, its wheel and the C++ tests: one folder, so that the core is compiled once.
BUILD := build/dev
SOURCES := $(shell find cpp bindings cmake python -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml README.md
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Without isolation, in which every build has other paths and begins anew: here a change of Python compiles nothing.
INSTALL := pip install --no-build-isolation -C build-dir=$(BUILD) -C build.targets=_core \
  -C cmake.define.DSGD_TESTS=ON -C cmake.define.DSGD_WERROR=$(WERROR)

.PHONY: demo test bench lint asan tsan fuzz clean

demo: $(VENV)/.installed
	python bench/demo.py

test: $(VENV)/.installed $(VENV)/.test
	cmake --build $(BUILD)
	ctest --test-dir $(BUILD) --output-on-failure
	python -m pytest -n 2 --dist worksteal

bench: $(VENV)/.installed $(VENV)/.bench
	python -m pytest bench/throughput
	python bench/studies/memory.py

lint: $(VENV)/.installed $(VENV)/.test $(VENV)/.lint $(VENV)/.bench
	.ci/lint

# The C++ tests under sanitizers: of addresses and undefined behaviour, and of threads.
asan tsan: $(VENV)/.created
	cmake --preset $@
	cmake --build --preset $@
	ctest --preset $@

fuzz: $(VENV)/.created
	.ci/fuzz

clean:
	rm -rf build dist $(VENV)

$(VENV)/.created:
	.ci/system-packages test $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	pip install --quiet -r <(.ci/requires build)
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	$(INSTALL) .
	touch $@

# The packages of an extra.
$(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.created pyproject.toml
	pip install --quiet -r <(.ci/requires $*)
	touch $@
