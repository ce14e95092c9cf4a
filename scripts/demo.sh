#!/usr/bin/env bash
# Starts a web page on this machine to ask models: questions about a passage, classes of texts, fp32 beside int8. Without
# models it shows those in task/ and outputs/; where there are none, it makes the quickstart's first (1 to 5 minutes on 2 cores).
#
#   bash scripts/demo.sh
#   bash scripts/demo.sh outputs/squad outputs/squad-int8      exported folders or fine-tuned checkpoints
#   bash scripts/demo.sh task/mnli --port 0                    any free port; the default is 7860
#   bash scripts/demo.sh --host 0.0.0.0                        for other machines too
#
# Limits: --queue 64 (requests at once), --timeout 60 (seconds of a request), --max_passage 100000 (characters).

source "$(dirname "$0")/_common.sh"

export MOBILEBERT_QUIET=${MOBILEBERT_QUIET:-1}
quickstart=outputs/quickstart
trained=$quickstart/training/best

models=$("$PYTHON" -m mobilebert.commands.demo --list "$@")
if [[ -z $models ]]; then
    echo "demo: no model in task/ or outputs/; making the quickstart's"
    OUTPUT=$quickstart bash scripts/quickstart.sh
    models=$trained
fi
# The quickstart ends with a checkpoint: export it, so that fp32 and int8 can be compared.
if (($# == 0)) || [[ $1 == -* ]]; then
    if [[ $models == *"$trained"* && ! -d $quickstart/int8 ]]; then
        echo "demo: exporting the quickstart's model to $quickstart/fp32 and $quickstart/int8"
        "$PYTHON" export.py --model "$trained" --out "$quickstart/fp32" --force >/dev/null
        "$PYTHON" export.py --model "$trained" --out "$quickstart/int8" \
            --quantize int8 \
            --calibration "$quickstart/data/train.json" \
            --evaluation "$quickstart/data/dev.json" \
            >/dev/null
    fi
fi
exec "$PYTHON" -m mobilebert.commands.demo "$@"
