// mobilebert.mjs without npm's packages: what a tokenizer of transformers.js says is read from the folder, and the network
// is the arithmetic of support/web_module.py. Reads { folder, tokenize, calls } from standard input, prints the answers.

import { readFileSync } from "node:fs";
import path from "node:path";

import { Model } from "../../mobilebert/web/mobilebert.mjs";
import { WordPiece } from "../../mobilebert/web/wordpiece.mjs";

const { folder, tokenize, calls } = JSON.parse(readFileSync(0, "utf8"));
const json = (name) => JSON.parse(readFileSync(path.join(folder, name), "utf8"));
const config = json("config.json");
const vocabulary = new Map(Object.entries(json("tokenizer.json").model.vocab));
const tokenizer = { config: json("tokenizer_config.json"), get_vocab: () => vocabulary };

const logit = (id, place, output) =>
  Math.fround(((id * 7919 + place * 104729 + output * 1299709) % 1000003) / 100000 - 5);

async function run({ input_ids: { data, dims } }) {
  const [rows, tokens] = dims;
  const fill = (perToken, of) => ({
    dims: [rows, tokens, ...(perToken > 1 ? [perToken] : [])],
    data: Float32Array.from({ length: rows * tokens * perToken }, (_, at) => {
      const token = Math.floor(at / perToken);
      return logit(data[token], token % tokens, of(at));
    }),
  });
  const labels = Object.keys(config.id2label).length;
  if (head === "question-answering") return { start_logits: fill(1, () => 0), end_logits: fill(1, () => 1) };
  if (head === "token-classification") return { logits: fill(labels, (at) => at % labels) };
  const logits = Array.from({ length: rows * labels }, (_, at) => {
    const row = data.slice(Math.floor(at / labels) * tokens, (Math.floor(at / labels) + 1) * tokens);
    return logit(row.reduce((sum, id, place) => (sum + id * (place + 1)) % 1000003, 0), 0, at % labels);
  });
  return { logits: { dims: [rows, labels], data: Float32Array.from(logits) } };
}

/** From places of a text to code points, as Python counts. */
function pointsOf(text) {
  const points = new Map([[-1, -1]]);
  let [at, count] = [0, 0];
  for (const character of text) {
    points.set(at, count++);
    at += character.length;
  }
  points.set(at, count);
  return (place) => points.get(place);
}

const pieces = new WordPiece(tokenizer);
const tokens = tokenize.map((text) => {
  const { ids, places } = pieces.encode(text);
  const point = pointsOf(text);
  return [ids, places.map((pair) => pair.map(point))];
});

const head = json("export.json").head;
const answers = [];
for (const [method, texts, { abortAfter, ...options }] of calls) {
  let runs = 0;
  if (abortAfter !== undefined) options.isAborted = async () => runs++ >= abortAfter;
  const model = new Model({ head, config, tokenizer, run });
  try {
    const found = await model[method](...texts, options);
    const text = texts.at(method === "read" ? 1 : 0);
    const point = pointsOf(text);
    const place = (each) => ({ ...each, start: point(each.start), end: point(each.end) });
    if (method === "read") {
      found.answers = found.answers.map(place);
      found.windows = found.windows.map((pair) => pair.map(point));
    }
    answers.push(method === "entities" ? found.map(place) : found);
  } catch (error) {
    answers.push({ error: error.message });
  }
}
console.log(JSON.stringify({ tokens, answers }));
