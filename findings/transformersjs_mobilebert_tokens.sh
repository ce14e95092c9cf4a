#!/usr/bin/env bash
# transformers.js 4.3.2 has MobileBERT for questions, classes and masked words, but not for tokens.
#
#   bash findings/transformersjs_mobilebert_tokens.sh
#
# AutoModelForTokenClassification, and with it pipeline("token-classification"), refuses a mobilebert with "Unsupported model
# type", before it looks for the model's file. AutoModel loads the same file and gives its logits, also to a
# TokenClassificationPipeline that is made by hand.
#
# Installs pinned packages into a temporary folder (node 20 and npm). Exit code 1 where the behaviour has changed.

set -euo pipefail
case "${1:-}" in
    -h | --help)
        awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
esac
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
cd "$folder"
npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$folder" @huggingface/transformers@4.3.2
mkdir model
echo '{"model_type": "mobilebert", "architectures": ["MobileBertForTokenClassification"]}' >model/config.json
cat >finding.mjs <<'JAVASCRIPT'
import path from "node:path";
import * as transformers from "@huggingface/transformers";

transformers.env.allowRemoteModels = false;
console.log(`transformers.js ${transformers.env.version}, node ${process.version}`);
const said = {};
for (const task of ["ForQuestionAnswering", "ForSequenceClassification", "ForMaskedLM", "ForTokenClassification", ""]) {
  try {
    await transformers[`AutoModel${task}`].from_pretrained(path.resolve("model"));
  } catch (error) {
    said[task] = error.message.split("\n")[0].replaceAll(process.cwd(), "");
  }
  console.log(`AutoModel${task}: ${said[task]}`);
}
// All others get as far as the file, which is not there.
const isRefused = (task) => said[task].startsWith("Unsupported model type");
const refused = Object.keys(said).filter(isRefused);
process.exit(refused.join() === "ForTokenClassification" ? 0 : 1);
JAVASCRIPT
if ! node finding.mjs; then
    echo "changed: AutoModelForTokenClassification knows MobileBERT, or another does not" >&2
    exit 1
fi
echo "as described: only the model for tokens is unknown"
