#!/usr/bin/env bash
# Makes rows for pre-training out of text, as the paper had them: up to 512 tokens, ten copies, by BERT's rules.
# Text is one sentence a line with an empty line between documents; --paragraphs splits paragraphs. Stopped, it goes on
# when it is started again. What there is to say about it: docs/pretrain.md.
#
#   bash scripts/make_pretraining_data.sh text/ 'books-*.txt.gz'
#   bash scripts/make_pretraining_data.sh text.txt --max_seq_length 128 --whole_word_mask
#                                        any flag of python -m mobilebert pretrain-data
#   OUTPUT=FOLDER TOKENIZER=FOLDER bash scripts/make_pretraining_data.sh text.txt
#                                        another place (pretraining_data), another tokenizer (weight/paddle)

source "$(dirname "$0")/_common.sh"

inputs=()
while [[ -n ${1:-} && $1 != -* ]]; do
    inputs+=("$1")
    shift
done
if [[ ${#inputs[@]} == 0 ]]; then
    fail "which text? files and folders come first; see bash scripts/make_pretraining_data.sh --help"
fi

"$PYTHON" -m mobilebert pretrain-data \
    --input "${inputs[@]}" \
    --out "${OUTPUT:-pretraining_data}" \
    --tokenizer "${TOKENIZER:-weight/paddle}" \
    --max_seq_length 512 \
    "$@"
