// What the checks in JavaScript share.

import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const ROUNDS = 6;
const RUNS = 5; // of each side in a round
const SETTLE_MS = 50; // threads of what just ran spin a little before they sleep

/** The rows of `reference/MODEL.json`. */
export async function read(work, model) {
  return JSON.parse(await readFile(path.join(work, "reference", `${model}.json`), "utf8"));
}

/**
 * A client's time for one row of 128 tokens over that of our ONNX float32: the fastest of runs that take turns.
 *
 * @param run an async function, timed `ROUNDS` x `RUNS` times and called once before
 * @param model "big-reader" or "big-classifier"
 */
export async function ratio(run, work, model) {
  const script = path.join(import.meta.dirname, "baseline.py");
  const child = spawn(process.env.MOBILEBERT_PYTHON, [script, path.join(work, "exports", `${model}-onnx`)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const theirs = [];
  const ours = [];
  await run();
  for (let round = 0; round < ROUNDS; round++) {
    for (let number = 0; number < RUNS; number++) {
      const start = performance.now();
      await run();
      theirs.push(performance.now() - start);
    }
    await sleep(SETTLE_MS);
    child.stdin.write(`${RUNS}\n`);
    ours.push(...JSON.parse((await answers.next()).value));
    await sleep(SETTLE_MS);
  }
  child.stdin.end();
  return Math.min(...theirs) / Math.min(...ours);
}

/** Print a row of the table: client, version, tested, equal, total; ratio, megabytes and note where they are known. */
export function report(row) {
  console.log(JSON.stringify(row));
}
