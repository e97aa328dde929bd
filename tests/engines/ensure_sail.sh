#!/usr/bin/env bash
# Makes sure that there is a Sail for the tests of Spark, in a virtual environment of its own: it has no part in cdp's.
# Only says so where there is none: the tests then skip Spark with the reason.
set -eu

cd "$(dirname "$0")/../.."
if [ -x .venv-sail/bin/sail ]; then exit 0; fi
echo "installing Sail for the tests of Spark"
{ python3 -m venv .venv-sail && .venv-sail/bin/python -m pip install --quiet --disable-pip-version-check 'pysail>=0.7.2,<0.8'; } ||
  { rm -rf .venv-sail; echo "Sail cannot be installed: the tests of Spark are skipped" >&2; }
