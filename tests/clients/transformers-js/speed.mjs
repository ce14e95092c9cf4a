// Which int8 is faster in WebAssembly: .onnx files of the same model take turns, one thread, one row of 128 tokens.
//
//   node tests/clients/transformers-js/speed.mjs FILE.onnx FILE.onnx

import { readFile } from "node:fs/promises";

import * as ort from "onnxruntime-web/wasm";

const ROUNDS = 6;
const TOKENS = 128;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const places = Array.from({ length: TOKENS }, (_, place) => place);
const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, TOKENS]);
const feeds = {
  input_ids: tensor(places.map((place) => 1000 + 37 * place)),
  attention_mask: tensor(places.map(() => 1)),
  token_type_ids: tensor(places.map(() => 0)),
};
const files = process.argv.slice(2);
const sessions = [];
for (const file of files) sessions.push(await ort.InferenceSession.create(await readFile(file)));
const fastest = files.map(() => Infinity);
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, session] of sessions.entries()) {
    const begin = performance.now();
    await session.run(feeds);
    fastest[index] = Math.min(fastest[index], performance.now() - begin);
  }
}
files.forEach((file, index) => console.log(`${fastest[index].toFixed(1)} ms  ${file}`));
