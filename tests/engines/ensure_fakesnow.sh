#!/usr/bin/env bash
# Makes the virtual environment of fakesnow, the stand-in for Snowflake: it must not share one with the connector that is
# tested, since it needs an older one itself. Only says so where that fails: the tests then skip it with the reason.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-fakesnow
wanted="fakesnow 0.12.1"

[ "$(cat "$venv/.made" 2>/dev/null || true)" = "$wanted" ] && exit 0
python=.venv/bin/python
[ -x "$python" ] || python=python3
rm -rf "$venv"
if "$python" -m venv "$venv" &&
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "fakesnow[server]==0.12.1" "snowflake-connector-python<5"; then
  echo "$wanted" >"$venv/.made"
else
  rm -rf "$venv"
  echo "no fakesnow: the tests on Snowflake are skipped (its packages could not be installed)" >&2
fi
