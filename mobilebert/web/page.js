// What a person types goes to api/; what comes back is shown. Text is only ever put in with textContent.
"use strict";

const $ = (id) => document.getElementById(id);
const QA = "question-answering";
const CLASSIFICATION = "sequence-classification";
const ENTITIES = "token-classification";
const TASK_NAMES = { [QA]: "Questions", [CLASSIFICATION]: "Classification", [ENTITIES]: "Entities" };
const FIELDS = { [QA]: ["passage", "question"], [CLASSIFICATION]: ["text", "pair"], [ENTITIES]: ["document"] };
const ADDRESSES = { [QA]: "api/answer", [CLASSIFICATION]: "api/classify", [ENTITIES]: "api/entities" };
const VERBS = { [QA]: "Answer", [CLASSIFICATION]: "Classify", [ENTITIES]: "Find" };
const LIMITS = { pair: "text", document: "passage" }; // of fields that have no limit of their own name
const COLOURS = 8; // of types of entities, in page.css
// For models that bring none of their own; each with the models that it is for.
const EXAMPLES = {
  [QA]: [
    {
      fits: () => true,
      name: "a model",
      passage:
        "MobileBERT is a compact version of BERT for devices with little memory. It keeps the depth of the large " +
        "model, 24 layers, but makes every layer thin: a bottleneck narrows 512 numbers a token to 128 before " +
        "attention and widens them again behind the feed-forward networks. Layer normalization is replaced by a " +
        "scale and a shift, and GELU by ReLU. A specially built teacher trains it layer by layer.",
      question: "How many layers does MobileBERT have?",
    },
  ],
  [CLASSIFICATION]: [
    {
      fits: ({ labels }) => labels.some((label) => /^positive$/i.test(label)),
      name: "a review",
      text: "A warm, funny film that never outstays its welcome.",
      pair: "",
    },
    {
      fits: ({ labels }) => labels.some((label) => /^entailment$/i.test(label)),
      name: "a pair",
      text: "A man is sleeping on a bench in the park.",
      pair: "Nobody is awake on the bench.",
    },
  ],
  [ENTITIES]: [
    {
      fits: () => true,
      name: "a town",
      document:
        "Veralund lies on the coast. Its mayor is Tolan Beckworth. The church was decorated by the painter Malina " +
        "Torridge, and a ferry goes to the island Branmere.",
    },
    {
      fits: () => true,
      name: "a life",
      document: "Ada Lovelace was born in London in 1815 and worked with Charles Babbage.",
    },
  ],
};
const send = globalThis.fetchHere ?? fetch; // local.mjs, where the model runs in the page
const SILENT =
  location.protocol === "file:"
    ? "A browser runs no model from a file: serve this folder (python -m http.server) and open the page there."
    : "The demo does not answer. Is it still running in its terminal?";
const NEGLIGIBLE = 0.001; // the probability below which a runner-up is not worth a line

let models = [];
let limits = {};
let task = "";
let request = null; // the AbortController of the one under way
let seen = { input: "", runs: new Map() }; // what each model said to the same text

const selected = () => models.find((model) => $("models").querySelector("input:checked")?.value === model.name);
const percent = (share) => (share > 0.9995 ? "> 99.9 %" : share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
const milliseconds = (value) =>
  value < 100 ? `${value.toFixed(1)} ms` : value < 10000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
const grouped = (number) => number.toLocaleString("en");
const bytes = (size) => (size < 1e5 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(size < 1e7 ? 1 : 0)} MB`);
const characters = (text) => Array.from(text).length; // code points, as the server counts

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function bar(share) {
  const fill = element("div");
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return element("div", "bar", fill);
}

// ---------------------------------------------------------------- choices

function showTasks() {
  const tasks = Object.keys(TASK_NAMES).filter((name) => models.some((model) => model.task === name));
  $("tasks").hidden = tasks.length < 2;
  $("tasks").replaceChildren(
    ...tasks.map((name) => {
      const button = element("button", "", TASK_NAMES[name]);
      button.type = "button";
      button.addEventListener("click", () => showTask(name));
      button.dataset.task = name;
      return button;
    }),
  );
  showTask(models[0].task);
}

function showTask(name) {
  if (task === name) return;
  task = name;
  request?.abort();
  for (const part of $("form").querySelectorAll("[data-task]")) part.hidden = part.dataset.task !== task;
  for (const button of $("tasks").children) button.setAttribute("aria-pressed", button.dataset.task === task);
  const choices = models.filter((model) => model.task === task).map(choice);
  choices[0].querySelector("input").checked = true;
  $("models").querySelector(".choices").replaceChildren(...choices);
  clearResult();
  adaptToModel();
}

function choice(model) {
  const input = element("input");
  input.type = "radio";
  input.name = "model";
  input.value = model.name;
  input.addEventListener("change", () => {
    adaptToModel();
    if (!$("placeholder").textContent) ask(); // the same again, by the other model
  });
  const size = model.bytes === null ? "" : ` · ${bytes(model.bytes)}`;
  const kind = model.kind === "checkpoint" ? " checkpoint" : "";
  return element("label", "", input, model.name, element("small", "", `${model.precision}${kind}${size}`));
}

function adaptToModel() {
  const model = selected();
  showExamples(model);
  $("submit").textContent = VERBS[task];
  $("allow-no-answer").checked = model.allow_no_answer;
  $("pair-field").hidden = model.takes_pairs === false;
  $("pair-note").textContent = model.takes_pairs ? "" : "(may stay empty)";
}

function fill(example) {
  for (const field of FIELDS[task]) $(field).value = example[field];
  showLength();
  say("");
}

function examplesOf(model) {
  if (!model.examples.length) return EXAMPLES[model.task].filter((example) => example.fits(model));
  return model.examples.map((example, index) => ({ ...example, name: `question ${index + 1}` }));
}

function showExamples(model) {
  const buttons = examplesOf(model).map((example) => {
    const button = element("button", "", example.name);
    button.type = "button";
    button.title = example.question ?? example.text ?? example.document;
    button.addEventListener("click", () => fill(example));
    return button;
  });
  const content = buttons.flatMap((button, index) => [index ? " or " : "Try ", button]);
  document.querySelector(`.examples[data-for="${model.task}"]`).replaceChildren(...content);
}

function showLength() {
  const length = limits.passage ? characters($("passage").value) : 0; // none before the models are known
  $("passage-note").textContent = length ? `${grouped(length)} of at most ${grouped(limits.passage)} characters` : "";
}

// ---------------------------------------------------------------- asking

function say(message, field) {
  for (const name of FIELDS[task]) $(name).removeAttribute("aria-invalid");
  $("message").textContent = message;
  if (message && field && $(field)) {
    $(field).setAttribute("aria-invalid", "true");
    $(field).focus();
  }
}

function problem(values) {
  if (task === QA && !values.passage.trim()) return ["Give a passage to read first.", "passage"];
  if (task === QA && !values.question.trim()) return ["Ask a question first.", "question"];
  if (task === CLASSIFICATION && !values.text.trim()) return ["Write a text first.", "text"];
  if (task === ENTITIES && !values.document.trim()) return ["Write a text first.", "document"];
  for (const field of FIELDS[task]) {
    const limit = limits[LIMITS[field] ?? field];
    const length = characters(values[field]);
    const name = { pair: "second text", document: "text" }[field] ?? field;
    if (length > limit) {
      return [`The ${name} has ${grouped(length)} characters; at most ${grouped(limit)} are read.`, field];
    }
  }
  return null;
}

async function ask() {
  const model = selected();
  if (!model) return; // not known yet
  const values = Object.fromEntries(FIELDS[task].map((field) => [field, $(field).value]));
  if (task === CLASSIFICATION && model.takes_pairs === false) values.pair = "";
  const wrong = problem(values);
  request?.abort();
  if (wrong) return say(...wrong);
  say("");
  const mine = (request = new AbortController());
  const body = { ...values, model: model.name };
  if (task === QA) body.allow_no_answer = $("allow-no-answer").checked;
  working(true);
  try {
    const response = await send(ADDRESSES[task], {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: mine.signal,
    });
    const result = await response.json().catch(() => ({ error: `The server said ${response.status}. Try again.` }));
    if (mine !== request) return;
    if (!response.ok) return say(result.error, result.field);
    show(model, values, result, body.allow_no_answer);
  } catch (error) {
    if (error.name !== "AbortError") say(SILENT);
  } finally {
    if (mine === request) {
      request = null;
      working(false);
    }
  }
}

function working(yes) {
  $("submit").setAttribute("aria-busy", yes);
  $("submit").textContent = yes ? "Reading…" : VERBS[task];
  $("result").classList.toggle("stale", yes);
}

// ---------------------------------------------------------------- showing

function clearResult() {
  working(false);
  $("form").classList.remove("asked");
  for (const part of ["reading", "classes", "entities", "compared"]) $(part).hidden = true;
  for (const part of ["status", "timing"]) $(part).textContent = "";
  say("");
  $("placeholder").textContent = {
    [QA]: "The answer appears here, in its place in the passage.",
    [CLASSIFICATION]: "The classes appear here, with their probabilities.",
    [ENTITIES]: "The text appears here, with its entities marked.",
  }[task];
}

function show(model, values, result, allowNoAnswer) {
  $("placeholder").textContent = "";
  $("form").classList.add("asked");
  const shows = {
    [QA]: () => showReading(model, values.passage, result),
    [CLASSIFICATION]: () => showClasses(result),
    [ENTITIES]: () => showEntities(values.document, result.entities),
  };
  const summary = shows[task]();
  const waited = result.waited_ms > 1 ? `, after waiting ${milliseconds(result.waited_ms)} for others` : "";
  $("timing").textContent = `${model.name} (${model.precision}) took ${milliseconds(result.latency_ms)}${waited}.`;
  $("status").textContent = `${summary.result}, ${summary.score}`;
  const input = JSON.stringify([task, values, allowNoAnswer]);
  if (seen.input !== input) seen = { input, runs: new Map() };
  const fastest = Math.min(result.latency_ms, seen.runs.get(model.name)?.fastest ?? Infinity);
  seen.runs.set(model.name, { ...summary, fastest });
  showCompared(model);
  const shown = { [QA]: "answers", [CLASSIFICATION]: "classes", [ENTITIES]: "entities" };
  $(shown[task]).scrollIntoView({ block: "nearest" });
}

function showCompared(current) {
  $("compared").hidden = seen.runs.size < 2;
  const rows = [...seen.runs].map(([name, run]) => {
    const row = element("tr", name === current.name ? "current" : "");
    const parts = name.split("/").flatMap((part, index) => (index ? ["/", element("wbr"), part] : [part]));
    const head = element("th", "", ...parts);
    head.scope = "row";
    row.append(head, ...[run.result, run.score, milliseconds(run.fastest)].map((cell) => element("td", "", cell)));
    return row;
  });
  $("compared").querySelector("tbody").replaceChildren(...rows);
}

function showClasses({ label, chosen, scores, is_regression: isRegression }) {
  $("reading").hidden = true;
  $("classes").hidden = false;
  if (isRegression) {
    const score = scores[0].score.toFixed(2);
    $("classes").replaceChildren(element("p", "quiet", "Score"), element("p", "number", score));
    return { result: "Score", score };
  }
  const sorted = [...scores].sort((one, other) => other.score - one.score);
  const best = chosen ?? [label]; // a text may have several labels, or none
  $("classes").replaceChildren(
    ...sorted.map((entry) => {
      const texts = [entry.label, percent(entry.score)].map((text) => element("span", "", text));
      return element("div", best.includes(entry.label) ? "class best" : "class", ...texts, bar(entry.score));
    }),
  );
  return { result: best.join(", ") || "none", score: percent(sorted[0].score) };
}

function showEntities(text, entities) {
  $("entities").hidden = false;
  const points = Array.from(text); // places count code points, strings UTF-16 units
  const types = [...new Set(entities.map((entity) => entity.type))].sort();
  const colour = (type) => `type-${types.indexOf(type) % COLOURS}`;
  const pieces = [];
  let at = 0;
  for (const { start, end, type, score } of entities) {
    const mark = element("mark", colour(type), points.slice(start, end).join(""));
    mark.dataset.type = type; // shown behind it, not part of the text
    mark.title = `${type}, ${percent(score)}`;
    pieces.push(points.slice(at, start).join(""), mark);
    at = end;
  }
  $("marked").replaceChildren(...pieces, points.slice(at).join(""));
  const counts = types.map((type) => [type, entities.filter((entity) => entity.type === type).length]);
  $("legend").replaceChildren(
    ...counts.map(([type, count]) => element("li", "", element("span", colour(type), type), ` ${grouped(count)}`)),
  );
  const found = entities.length === 1 ? "1 entity" : `${grouped(entities.length)} entities`;
  const least = entities.length ? `least sure ${percent(Math.min(...entities.map(({ score }) => score)))}` : "";
  return { result: found, score: least || "none found" };
}

function showReading(model, passage, { answers: found, windows }) {
  const answers = found.filter((answer, index) => index === 0 || answer.probability >= NEGLIGIBLE);
  $("classes").hidden = true;
  $("reading").hidden = false;
  const points = Array.from(passage); // answers count code points, strings UTF-16 units
  const view = { points, answers, windows, chosen: 0, window: -1 };
  $("answers").replaceChildren(
    ...answers.map((answer, index) => {
      const words = answer.start < 0 ? "No answer in the passage" : points.slice(answer.start, answer.end).join("");
      const text = element("span", "text", words);
      const share = element("span", "share", percent(answer.probability));
      const button = element("button", "", text, share, bar(answer.probability));
      button.type = "button";
      button.title = `start and end score ${answer.score.toFixed(2)}`;
      button.addEventListener("click", () => paint({ ...view, chosen: index, window: Number($("window").value) - 1 }));
      return element("li", "", button);
    }),
  );
  const many = windows.length > 1;
  $("windows-note").textContent = many
    ? `${windows.length} of up to ${model.max_seq_length} tokens each, overlapping`
    : `all of it at once, up to ${model.max_seq_length} tokens`;
  $("strip").hidden = !many;
  $("window").parentElement.hidden = !many;
  $("window").max = windows.length;
  $("window").value = 0;
  $("window").oninput = () => paint({ ...view, chosen: chosenAnswer(), window: Number($("window").value) - 1 }, true);
  $("strip").onclick = (event) => {
    const box = $("strip").getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * points.length;
    const distances = windows.map(([start, end]) => Math.abs((start + end) / 2 - place));
    $("window").value = distances.indexOf(Math.min(...distances)) + 1;
    $("window").oninput();
  };
  paint(view);
  return { result: $("answers").querySelector(".text").textContent, score: percent(answers[0].probability) };
}

function chosenAnswer() {
  const buttons = [...$("answers").querySelectorAll("button")];
  return Math.max(0, buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true"));
}

function paint({ points, answers, windows, chosen, window }, followWindow = false) {
  const buttons = $("answers").querySelectorAll("button");
  buttons.forEach((button, index) => button.setAttribute("aria-pressed", index === chosen));
  const best = answers[chosen];
  const read = windows[window] || [-1, -1];
  const inside = (place, start, end) => start <= place && place < end;
  const edges = new Set([0, points.length, ...answers.flatMap(({ start, end }) => [start, end]), ...read]);
  const cuts = [...edges].filter((edge) => edge >= 0).sort((one, other) => one - other);
  const pieces = []; // neighbours of one look are one element, so that a mark is not cut up
  for (const [index, start] of cuts.slice(0, -1).entries()) {
    const text = points.slice(start, cuts[index + 1]).join("");
    const isChosen = inside(start, best.start, best.end);
    const isMarked = isChosen || answers.some((answer) => inside(start, answer.start, answer.end));
    const tag = isMarked ? "MARK" : "SPAN";
    const look = [isChosen ? "chosen" : "", inside(start, ...read) ? "read" : ""].join(" ").trim();
    const last = pieces.at(-1);
    if (last?.tagName === tag && last.className === look) last.textContent += text;
    else pieces.push(element(tag, look, text));
  }
  const box = $("shown");
  box.replaceChildren(...pieces);
  const target = box.querySelector(followWindow && window >= 0 ? ".read" : ".chosen");
  if (target) box.scrollTop = Math.max(0, target.offsetTop - (followWindow ? 16 : box.clientHeight / 3));

  const at = (place) => `${(100 * place) / points.length}%`;
  const bars = windows.map(([start, end], index) => {
    const piece = element("div", index === window ? "shown" : "");
    piece.style.left = at(start);
    piece.style.width = at(end - start);
    return piece;
  });
  if (best.start >= 0) {
    const place = element("div", "place");
    place.style.left = at(best.start);
    bars.push(place);
  }
  $("strip").replaceChildren(...bars);
  const total = windows.length;
  $("window-name").textContent = window < 0 ? `all ${total} windows` : `window ${window + 1} of ${total}`;
}

// ---------------------------------------------------------------- start

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (matchMedia("(pointer: coarse)").matches) document.activeElement.blur(); // the keyboard would hide the answer
  await ask();
});
for (const area of document.querySelectorAll("textarea")) {
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  });
}
$("passage").addEventListener("input", showLength);

(async () => {
  const fail = (message) => ($("message").textContent = message);
  try {
    const response = await send("api/models");
    const body = await response.json().catch(() => ({ error: `The server said ${response.status}. Try again.` }));
    if (!response.ok) return fail(body.error);
    ({ models, limits } = body);
  } catch {
    return fail(SILENT);
  }
  showTasks();
  const [first] = examplesOf(selected());
  if (first && !$(FIELDS[task][0]).value) fill(first);
})();
