#!/bin/sh
# What some tests need beside Python, from Debian's packages. Users need none of it.
#
#   node, npm    the official clients of Mergent and Trigger.dev, unchanged; axe, over every page
#   chromium     the dashboard, as a browser shows it
#   pgbouncer    a pooler in transaction mode
#
# Tests that lack their tool are skipped, and say so; `make test-all` calls this first, and skips none for that.
set -eu

missing=""
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
command -v pgbouncer >/dev/null || missing="$missing pgbouncer"
[ -n "$missing" ] || exit 0

echo "Installing$missing ..."
if ! command -v apt-get >/dev/null; then
  echo "There is no apt-get here. Install these yourself:$missing" >&2
  exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
