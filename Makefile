# `make demo` and `make test` need python3 (>= 3.11) and make, nothing else: they set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test slow lint bench fuzz docs screenshots vendor clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("regaze needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": run make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/regaze demo

# One process a core, up to four: a test's tensors are tiny, and each process computes on one thread (tests/conftest.py).
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python bench/training.py
	$(BIN)/python bench/round.py
	$(BIN)/python bench/faithfulness.py

# Five minutes of damaged input for every reader of foreign files.
fuzz: $(STAMP)
	$(BIN)/python bench/fuzz.py

docs: $(STAMP)
	$(BIN)/python -m regaze.cli_reference > docs/cli.md

# Pictures of every state of the expert's page, from the demo's study.
screenshots: $(STAMP)
	$(BIN)/python bench/screenshots.py demo build/screenshots

# The page's vendored modules, from npm's packages (see bench/vendor.py); nothing else touches npm.
vendor: $(STAMP)
	mkdir -p build/npm && cd build/npm && npm pack --silent preact@11.2.0 htm@3.1.1 @preact/signals-core@1.14.5 @preact/signals@2.11.4 idb-keyval@6.3.0
	$(BIN)/python bench/vendor.py build/npm

clean:
	rm -rf $(VENV) demo dist build
