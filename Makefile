# make demo: the main job on the shipped tiny benchmark.  make test: linters, type checker, tests.
# Both make a virtual environment in $(VENV) when there is none, and reuse it when there is.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# How many processes run the tests, one thread each.
JOBS ?= auto

.PHONY: demo test lint slow clean

demo: $(VENV)/.installed
	PYTHON="$(abspath $(BIN))/python" bash scripts/demo.sh

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8

slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file engine/pyproject.toml -p dassl

$(VENV)/.installed: requirements.txt setup.py engine/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
