#!/usr/bin/env bash
# Measures inference on this machine's CPU: transformers, its ONNX exports, and this repository's engines, interleaved.
# Makes the models in outputs/benchmark/ (once), writes the tables and the picture to benchmarks/results/, or RESULTS.
# OpenVINO takes part where it is installed: pip install openvino
#
#   bash scripts/benchmark.sh
#   bash scripts/benchmark.sh --shapes 1x128 --rounds 10

needs_everything=true
source "$(dirname "$0")/_common.sh"

"$PYTHON" benchmarks/inference.py \
    --folder "${OUTPUT:-outputs/benchmark}" \
    --results "${RESULTS:-benchmarks/results}" \
    --shapes 1x128 1x384 8x128 8x384 \
    --rounds 6 \
    --threads 2 \
    "$@"
