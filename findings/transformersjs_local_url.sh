#!/usr/bin/env bash
# transformers.js 4.3.2 finds a model under an env.localModelPath that is a full address, but not its tokenizer.
#
#   bash findings/transformersjs_local_url.sh
#
# Whether there is a tokenizer is asked with get_file_metadata, which passes over local paths that are addresses
# (http://...), although the files themselves are fetched from there. So the list of the tokenizer's files is empty, and
# what the user sees is "Cannot read properties of undefined (reading 'tokenizer_class')". A path without the host
# ("/models/") works in a browser.
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
cat >finding.mjs <<'JAVASCRIPT'
import { createServer } from "node:http";
import { AutoConfig, AutoTokenizer, env } from "@huggingface/transformers";

const model = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100 };
const files = {
  "/models/small/config.json": { model_type: "bert", vocab_size: 3 },
  "/models/small/tokenizer_config.json": { tokenizer_class: "BertTokenizer", unk_token: "[UNK]" },
  "/models/small/tokenizer.json": {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: { ...model, vocab: { "[UNK]": 0, hello: 1, world: 2 } },
  },
};
const asked = [];
const server = createServer(({ url }, response) => {
  asked.push(url);
  response.writeHead(url in files ? 200 : 404, { "Content-Type": "application/json" });
  response.end(JSON.stringify(files[url] ?? {}));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = `http://127.0.0.1:${server.address().port}/models/`;

console.log(`transformers.js ${env.version}, node ${process.version}`);
console.log(`configuration: ${(await AutoConfig.from_pretrained("small")).model_type}`);
let message = "none";
try {
  await AutoTokenizer.from_pretrained("small");
} catch (error) {
  message = error.message;
}
server.close();
console.log(`tokenizer: ${message}`);
console.log(`asked of the server: ${asked.join(" ")}`);
const isAsBefore = message.includes("'tokenizer_class'") && !asked.some((url) => url.includes("tokenizer"));
process.exit(isAsBefore ? 0 : 1);
JAVASCRIPT
if ! node finding.mjs; then
    echo "changed: the tokenizer is found, or the message is another" >&2
    exit 1
fi
echo "as described: the configuration is found, its tokenizer is not"
