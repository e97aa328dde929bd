#!/usr/bin/env bash
# Makes sure that there is a Postgres for the tests: one that $CDP_TEST_PG_DSN names, one on this machine, or, as
# root on Debian and its kin, one from apt. Only says so where there is none: the tests then skip it with the reason.
set -eu

found() {
  command -v initdb >/dev/null 2>&1 && command -v pg_ctl >/dev/null 2>&1 && return 0
  for folder in /usr/lib/postgresql/*/bin; do
    if [ -x "$folder/initdb" ]; then return 0; fi
  done
  return 1
}

if [ -n "${CDP_TEST_PG_DSN:-}" ] || found; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing Postgres for the tests"
  apt-get update -qq
  # the throw-away cluster is made by the tests: no other is started
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql
  exit 0
fi
echo "no Postgres found: its tests are skipped. Install it, or set CDP_TEST_PG_DSN" >&2
