// In a folder of `export.py --format web` no server answers page.js; this does, with the model in a worker.

const NAME = "MobileBERT";
// A worker of a file would not be held to the page's Content-Security-Policy; one of a blob is.
const source = `import ${JSON.stringify(new URL("worker.mjs", import.meta.url).href)};`;
const blob = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
const worker = new Worker(blob, { type: "module" });
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
