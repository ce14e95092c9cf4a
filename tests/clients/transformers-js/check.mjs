// transformers.js in Node: pipelines load the hub's layout without options, and mobilebert.mjs answers as Predictor.

import { execFile } from "node:child_process";
import { mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import * as transformers from "@huggingface/transformers";

import { ratio, read, report } from "../common.mjs";

const CLOSE = 1e-5; // of probabilities
const work = path.resolve(process.argv[2]);
const folderOf = (name) => path.join(work, "exports", name);
const client = { client: "transformers.js (Node)", version: transformers.env.version };

transformers.env.allowRemoteModels = false;

/** Code points before a place, as Python counts. */
const points = (text, place) => (place < 0 ? place : Array.from(text.slice(0, place)).length);

/** Expected of all: nothing less than all rows is right. */
function row({ tested, equal, total, ...more }) {
  report({ ...client, tested, equal, total, ...more });
  if (equal !== total) {
    console.error(`${tested}: ${equal} of ${total}`);
    process.exitCode = 1;
  }
}

async function countAnswers(model, rows) {
  let equal = 0;
  for (const { question, context, text, start, end, probability } of rows) {
    const [found] = await model.answer(question, context);
    const place = [points(context, found.start), points(context, found.end)];
    const isThere = found.text === text && place[0] === start && place[1] === end;
    equal += isThere && Math.abs(found.probability - probability) < CLOSE;
  }
  return equal;
}

async function megabytes(folder, file) {
  return (await stat(path.join(folder, file))).size / 1e6;
}

/** 128 tokens through a model as transformers.js runs it. */
function oneRow(model) {
  const tensor = (values) => new transformers.Tensor("int64", BigInt64Array.from(values, BigInt), [1, 128]);
  const ids = Array.from({ length: 128 }, (_, place) => 1000 + 37 * place);
  const inputs = {
    input_ids: tensor(ids),
    attention_mask: tensor(ids.map(() => 1)),
    token_type_ids: tensor(ids.map(() => 0)),
  };
  return () => model(inputs);
}

// mobilebert.mjs as it lies in the export
const { load } = await import(path.join(folderOf("reader-hub"), "mobilebert.mjs"));
const rows = await read(work, "reader");
const execute = promisify(execFile);
const script = path.join(import.meta.dirname, "..", "int8_answers.py");
const reference = path.join(work, "reference", "reader.json");
const settings = { maxBuffer: 1 << 28, env: { ...process.env, MOBILEBERT_QUIET: "1" } };
const printed = await execute(process.env.MOBILEBERT_PYTHON, [script, folderOf("reader-hub"), reference], settings);
const int8Rows = JSON.parse(printed.stdout);

const float32 = await load(transformers, folderOf("reader-hub"));
const int8 = await load(transformers, folderOf("reader-hub"), { dtype: "q8" });
for (const [dtype, model, expected, file] of [
  [undefined, float32, rows, "onnx/model.onnx"],
  ["q8", int8, int8Rows, "onnx/model_quantized.onnx"],
]) {
  const big = await transformers.AutoModelForQuestionAnswering.from_pretrained(folderOf("big-reader-hub"), { dtype });
  row({
    tested: `mobilebert.mjs, questions, ${dtype ? "int8" : "float32"}`,
    equal: await countAnswers(model, expected),
    total: rows.length,
    ratio: await ratio(oneRow(big), work, "big-reader"),
    megabytes: await megabytes(folderOf("big-reader-hub"), file),
  });
}
// The comparison can tell: int8's answers are not all those of float32.
if ((await countAnswers(int8, rows)) === rows.length) throw new Error("int8 and float32 cannot be told apart");

const reviews = await read(work, "classifier");
const classifier = await load(transformers, folderOf("classifier-hub"));
let equal = 0;
for (const { text, label, scores } of reviews) {
  const found = await classifier.classify(text);
  const isClose = (name) => Math.abs(scores[name] - found.scores[name]) < CLOSE;
  equal += found.label === label && Object.keys(scores).every(isClose);
}
row({ tested: "mobilebert.mjs, classes, float32", equal, total: reviews.length });

const pipe = await transformers.pipeline("text-classification", folderOf("classifier-hub"));
equal = 0;
for (const { text, label, scores } of reviews) {
  const [found] = await pipe(text);
  equal += found.label === label && Math.abs(scores[label] - found.score) < CLOSE;
}
row({ tested: 'pipeline("text-classification"), float32', equal, total: reviews.length });

const half = await load(transformers, folderOf("classifier-hub"), { dtype: "fp16" });
equal = 0;
for (const { text, label } of reviews) equal += (await half.classify(text)).label === label;
row({
  tested: "mobilebert.mjs, classes, fp16",
  equal,
  total: reviews.length,
  megabytes: await megabytes(folderOf("classifier-hub"), "onnx/model_fp16.onnx"),
});

// What the card says of a folder that is named by two words, as the card says it.
const place = path.join(work, "card");
await rm(place, { recursive: true, force: true });
await mkdir(place);
await symlink(path.join(import.meta.dirname, "node_modules"), path.join(place, "node_modules"));
for (const [name, first, expected] of [
  ["reader", "import * as transformers", "text: '"],
  ["classifier", "import { pipeline }", "label: '"],
]) {
  const program = path.join(import.meta.dirname, "..", "..", "..", "export.py");
  const flags = ["--model", path.join(work, "models", name), "--layout", "hub", "--out", `outputs/${name}`];
  await execute(process.env.MOBILEBERT_PYTHON, [program, ...flags], { ...settings, cwd: place });
  const card = await readFile(path.join(place, "outputs", name, "README.md"), "utf8");
  const code = card.split("```js\n").find((block) => block.startsWith(first)).split("```")[0];
  if (!code.includes(`"./outputs/${name}"`)) throw new Error(`the card of ${name}: no dot before its folder`);
  await writeFile(path.join(place, `${name}.mjs`), code);
  const { stdout } = await execute(process.execPath, [`${name}.mjs`], { cwd: place });
  if (!stdout.includes(expected)) throw new Error(`the card's lines on ${name} print ${stdout}`);
}

// Its own pipeline for questions, for comparison: what the module is for.
const own = await transformers.pipeline("question-answering", folderOf("reader-hub"));
equal = 0;
for (const { question, context, text } of rows) equal += (await own(question, context)).answer === text;
report({
  ...client,
  tested: 'pipeline("question-answering"), float32',
  equal,
  total: rows.length,
  note: "its answers are decoded tokens, in lower case and without places; mobilebert.mjs beside the model has both",
});
