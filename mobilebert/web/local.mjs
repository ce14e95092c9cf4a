// In a folder of `export.py --format web` no server answers page.js; this does, with the model in a worker.

const NAME = "MobileBERT";
const worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
const waiting = new Map(); // number of a request -> what it waits for
let requests = 0;
let broken = null; // what is answered when the worker is no more

worker.addEventListener("message", ({ data: { number, status, body } }) => {
  waiting.get(number)?.resolve(new Response(JSON.stringify(body), { status }));
  waiting.delete(number);
});
worker.addEventListener("error", () => {
  const error = "This browser cannot start the model: it needs module workers and WebAssembly.";
  broken = () => new Response(JSON.stringify({ error }), { status: 500 });
  for (const { resolve } of waiting.values()) resolve(broken());
  waiting.clear();
});

/** `fetch`, for the addresses under api/ that mobilebert/demo/app.py has. */
globalThis.fetchHere = (address, { body, signal } = {}) =>
  new Promise((resolve, reject) => {
    if (broken) return resolve(broken());
    const number = requests++;
    waiting.set(number, { resolve });
    signal?.addEventListener("abort", () => {
      if (waiting.delete(number)) worker.postMessage({ number, aborted: true });
      reject(signal.reason);
    });
    worker.postMessage({ number, address, name: NAME, values: JSON.parse(body ?? "null") });
  });

document.querySelector("footer").textContent = "The model runs in this page. Your text stays in it.";
