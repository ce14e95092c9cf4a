// The model of a folder that `export.py --format web` wrote, and what page.js asks of it. What is fetched lies beside
// this file; without cross-origin isolation (two headers of the server) WebAssembly has one thread.

import { load } from "./mobilebert.mjs";

const HERE = new URL(".", import.meta.url).href;
const RUNTIME = "ort-wasm-simd-threaded"; // without WebGPU: half the size of what transformers.js takes by itself
const FILE = "onnx/model_quantized.onnx";
const LIMITS = { passage: 100_000, question: 1_000, text: 10_000 }; // characters, as of the demo's server
const TOP_K = 4; // answers shown

/** transformers.js, told to fetch nothing from elsewhere. It is large: requests are heard before it is there. */
async function start() {
  const transformers = await import("./transformers.min.js");
  const { env } = transformers;
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = new URL(HERE).pathname; // of an address with its host only the model is found, not its tokenizer
  env.fetch = (address, options) => fetch(new URL(address, HERE), options); // a blob has no place to begin from
  env.useBrowserCache = false; // which would keep a model that has been replaced
  env.useWasmCache = false;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${HERE}${RUNTIME}.mjs`, wasm: `${HERE}${RUNTIME}.wasm` };
  return load(transformers, ".", { dtype: "q8" });
}

const json = async (name) => {
  const response = await fetch(new URL(name, HERE));
  if (!response.ok) throw new Error(`the server said ${response.status} of ${name}`);
  return response.json();
};
const files = Promise.all([json("config.json"), json("export.json")]);
const model = start();
model.catch(() => {}); // said when it is asked
const aborted = new Set();
let last = Promise.resolve(); // requests are answered one by one

/** Code points, which page.js counts, before a place of a text. */
const points = (text, place) => (place < 0 ? place : Array.from(text.slice(0, place)).length);

const ANSWERS = {
  "api/models": async (values, name) => ({ models: [describe(...(await files), name)], limits: LIMITS }),
  "api/answer": async ({ question, passage, allow_no_answer: allowNoAnswer }, name, isAborted) => {
    const options = { topK: TOP_K, allowNoAnswer, wholeWords: true, isAborted };
    const reading = await (await model).read(question, passage, options);
    const place = (bound) => points(passage, bound);
    const inPoints = ({ start, end, ...rest }) => ({ ...rest, start: place(start), end: place(end) });
    const windows = reading.windows.map((bounds) => bounds.map(place));
    return { answers: reading.answers.map(inPoints), null_odds: reading.nullOdds, windows };
  },
  "api/classify": async ({ text, pair }, name, isAborted) => {
    const { label, chosen, scores } = await (await model).classify(text, pair || null, { isAborted });
    const rows = Object.entries(scores).map(([label, score]) => ({ label, score }));
    return { label, chosen, scores: rows, is_regression: (await model).isRegression };
  },
  "api/entities": async ({ document }, name, isAborted) => {
    const found = await (await model).entities(document, { isAborted });
    const place = (bound) => points(document, bound);
    return { entities: found.map((entity) => ({ ...entity, start: place(entity.start), end: place(entity.end) })) };
  },
};

/** What demo/models.py tells the page of a model. */
function describe(config, manifest, name) {
  const noted = config.task_specific_params?.[manifest.head] ?? {};
  return {
    name,
    task: manifest.head,
    precision: manifest.quantization,
    kind: "exported",
    bytes: manifest.files[FILE]?.bytes ?? null,
    max_seq_length: manifest.max_seq_length,
    allow_no_answer: noted.version_2_with_negative ?? false,
    takes_pairs: noted.takes_pairs ?? null,
    labels: Object.values(config.id2label),
    examples: noted.examples ?? [],
  };
}

async function respond({ number, address, name, values }) {
  const isAborted = async () => {
    await new Promise((resolve) => setTimeout(resolve)); // messages are heard between two tasks only
    return aborted.has(number);
  };
  try {
    if (await isAborted()) return;
    if (address !== "api/models") await model; // loading is not the question's time
    const begin = performance.now();
    const body = await ANSWERS[address](values, name, isAborted);
    const latency = performance.now() - begin;
    postMessage({ number, status: 200, body: { ...body, latency_ms: latency, waited_ms: 0 } });
  } catch (error) {
    postMessage({ number, status: 400, body: { error: `This cannot be answered: ${error.message}` } });
  } finally {
    aborted.delete(number);
  }
}

addEventListener("message", ({ data }) => {
  if (data.aborted) aborted.add(data.number);
  else if (data.address === "api/models") respond(data); // at once: the page is there before the model
  else last = last.then(() => respond(data));
});
