# make demo   the whole way on simulated data: prepare, train, compare, report
# make test   the tests;  make check  linters and types;  make docs  the documentation
# make bench  all benchmarks;  make bench-training (changes, loader, metrics, scoring, roofline, prepare, price)  one

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test check docs bench clean

demo: $(VENV)/demo
	$(BIN)/thaw demo --out demo

test: $(VENV)/dev
	$(BIN)/python -m pytest

check: $(VENV)/dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(VENV)/dev
	$(BIN)/mkdocs build --strict

# The price of MAIL stands last: it trains for hours, and goes on where it was stopped.
bench: $(addprefix bench-,training changes loader metrics scoring roofline prepare price)

bench-%: $(VENV)/dev
	$(BIN)/python benchmarks/$*.py

# The demo needs the report's libraries alone; the rest needs the tools as well.
$(VENV)/demo: pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) '.[report]'
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) '.[dev]'
	touch $@

$(VENV):
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "thaw needs Python 3.11 to 3.13; make PYTHON=python3.12 ..."'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) demo site
