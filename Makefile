# `make` alone says what there is. Every target makes the virtual environment first, where it is missing.
VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.set-up
PYTEST := $(PYTHON) -m pytest
BENCHES := $(filter-out _%,$(basename $(notdir $(wildcard tests/bench/*.py))))

.PHONY: help setup check test engines dbt demo bench format clean

help:
	@echo "make setup    virtual environment with everything for development, in $(VENV)"
	@echo "make check    ruff, mypy --strict, the floors of the house"
	@echo "make test     all tests, on DuckDB and Postgres (installed where missing and allowed)"
	@echo "make engines  those of Snowflake, BigQuery, Spark and Redshift, on what stands in for them"
	@echo "make dbt      the tests beside a real dbt, in a virtual environment of its own (.venv-dbt)"
	@echo "make demo     two days of a shop, pushed to a receiver on this machine"
	@echo "make bench    the figures of the README; other sizes: make bench ONLY=components ARGS='--edges 100000'"
	@echo "make format   ruff format"

setup: $(STAMP)

$(STAMP): pyproject.toml .ci/setup
	@bash .ci/setup $(VENV)
	@touch $(STAMP)

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: setup
	bash tests/ensure_postgres.sh
	$(PYTEST) -n 2 --dist loadgroup --durations 15 -m "not bench and not engines" $(ARGS)

engines: setup
	bash tests/ensure_postgres.sh
	bash tests/engines/ensure_fakesnow.sh
	bash tests/engines/ensure_sail.sh
	$(PYTEST) -n 2 --dist loadgroup --durations 15 -m engines $(ARGS)

# from 1.12 on dbt-core's install downloads from elsewhere than PyPI
.venv-dbt/bin/dbt:
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/pip install --quiet --disable-pip-version-check 'dbt-core~=1.11.0' dbt-duckdb

dbt: setup .venv-dbt/bin/dbt
	CDP_TEST_DBT=$(CURDIR)/.venv-dbt/bin/dbt $(PYTEST) tests/dbt $(ARGS)

demo: setup
	$(PYTHON) examples/demo.py $(ARGS)

bench: setup
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@for name in $(or $(ONLY),$(BENCHES)); do \
	  echo "== $$name"; $(PYTHON) -m tests.bench.$$name $(ARGS) || exit 1; \
	done

format: setup
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) build dist target .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
