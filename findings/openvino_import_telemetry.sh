#!/usr/bin/env bash
# openvino 2026.4.1 (with openvino-telemetry, which it installs): the import alone, without a model, writes an
# identifier and statistics below the home folder and prepares a report to be sent. No environment variable says no;
# only the answer given beforehand to the command opt_in_out does, or that the package openvino_telemetry is absent.
# A library that offers OpenVINO as one engine of several does this to its users as soon as it looks for it.
#
#   bash findings/openvino_import_telemetry.sh
#
# Installs pinned packages into a temporary folder. Exit code 1 where the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0

# Nothing leaves the machine: whatever would be sent goes to a port where nobody listens. No sign of a test machine.
look() {
    mkdir "$work/$1"
    env -i PATH="$PATH" HOME="$work/$1" https_proxy=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 \
        "$work/venv/bin/python" -W ignore -c "$2"
    (cd "$work/$1" && find . -type f | sort)
}
imported=$(look imported 'import openvino')
absent=$(look absent 'import sys; sys.modules["openvino_telemetry"] = None; import openvino')
"$work/venv/bin/python" -c 'import openvino; print("openvino", openvino.__version__)'
echo "files below the home folder after the import: ${imported:-none}"
echo "the same without openvino_telemetry:          ${absent:-none}"
[[ $imported == *openvino_ga_cid* ]] || { echo "changed: no identifier is written any more" >&2; exit 1; }
[[ -z $absent ]] || { echo "changed: files are written without openvino_telemetry too" >&2; exit 1; }
