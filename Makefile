# The verbs of the project; CONTRIBUTING.md explains them. Needs Python >= 3.11, a C compiler and make.
.PHONY: build test demo lint format bench peers check clean

# the first usable of these; a PYTHON of your own is taken as it is
recent := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(recent)' 2>/dev/null && echo $$p && break; done)

SOURCES := pyproject.toml CMakeLists.txt LICENSE \
	$(shell find csrc src -type f ! -name '*.pyc' ! -name '*.so' ! -name '.*' ! -name '*~')
C_FILES = $(wildcard csrc/*.[ch] tests/c/*.[ch])
BIN := .venv/bin
CMAKE = PATH="$(CURDIR)/$(BIN):$$PATH" cmake

build: .venv/built

test: build .venv/test.deps
	$(CMAKE) --workflow --preset dev
	$(BIN)/python -m pytest

demo: build .venv/demo.deps
	$(BIN)/python examples/regularisation.py
	@echo
	$(BIN)/python examples/digits.py

lint: .venv/lint.deps .venv/dev.deps
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/mypy
	$(CMAKE) --preset dev && $(CMAKE) --build --preset dev

format: .venv/lint.deps
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_FILES)

bench: build
	$(BIN)/python -m benchmarks

peers: .venv/peers.deps

check: .venv/dev.deps
	$(CMAKE) --workflow --preset asan

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Without isolation, so that build/ stays valid from one build to the next.
.venv/built: $(SOURCES) .venv/build.deps .venv/dev.deps
	$(BIN)/pip install -q --no-build-isolation .
	@touch $@

# What pyproject.toml lists: the extra of that name, or for "build" the requirements of the build.
.venv/%.deps: pyproject.toml .venv/made
	@$(BIN)/python -c '$(requirements)' $* > .venv/$*.txt
	$(BIN)/pip install -q -r .venv/$*.txt
	@touch $@
requirements := import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	e = p["project"]["optional-dependencies"] | {"build": p["build-system"]["requires"]}; \
	print(*e[sys.argv[1]], sep="\n")

.venv/made:
	@$(or $(PYTHON),false) -c '$(recent)' || \
		{ echo "fastgrad needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@
