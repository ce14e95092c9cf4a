#!/usr/bin/env bash
# Makes the API pages from the docstrings: outputs/api/index.html. Needs no network; a warning is an error.
#
#   bash scripts/docs.sh
#   bash scripts/docs.sh --output_dir site                     another place
#   bash scripts/docs.sh mobilebert.model.heads mobilebert.model.modeling  only these modules

needs_everything=true
source "$(dirname "$0")/_common.sh"

exec "$PYTHON" scripts/docs.py "$@"
