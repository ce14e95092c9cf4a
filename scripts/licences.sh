#!/usr/bin/env bash
# Writes docs/licences.md: the licence of each package of requirements.lock, as its metadata states it.
#
#   bash scripts/licences.sh

needs_everything=true
source "$(dirname "$0")/_common.sh"

((!$#)) || fail "$1: unknown; see bash scripts/licences.sh --help"
exec "$PYTHON" scripts/licences.py
