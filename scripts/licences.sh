#!/usr/bin/env bash
# Writes docs/licences.md: the licence of each package of requirements.lock, as its metadata states it.
#
#   bash scripts/licences.sh

source "$(dirname "$0")/_common.sh"

exec "$PYTHON" scripts/licences.py
