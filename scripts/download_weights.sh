#!/usr/bin/env bash
# Fetches google/mobilebert-uncased into weight/torch/: configuration, vocabulary and weights (about 100 MB).
# An interrupted download goes on where it stopped; without a network it ends within 15 s and says what to do.
#
#   bash scripts/download_weights.sh
#   HF_ENDPOINT=https://hf-mirror.com bash scripts/download_weights.sh      through a mirror
#   bash scripts/download_weights.sh NAME FOLDER                            another model, another place

source "$(dirname "$0")/_common.sh"

exec "$PYTHON" -m mobilebert.base.hub "${1:-google/mobilebert-uncased}" "${2:-weight/torch}"
