// MobileBERT over transformers.js: what `mobilebert.Predictor` answers, in Node and in the browser.
//
//   import * as transformers from "@huggingface/transformers";
//   import { load } from "./mobilebert.mjs";
//   const model = await load(transformers, "./outputs/squad-hub");  // and { dtype: "q8" } or the like
//   const [answer] = await model.answer(question, passage);         // { text, start, end, probability, score }
//   const { label } = await model.classify("A joy to watch.");
//
// The folder is what `export.py --layout hub` wrote, as an absolute path or one that begins with a dot: of a path like
// "outputs/squad-hub" transformers.js makes the name of a model on the hub. How the model reads (tokens of a row, shared tokens of windows,
// length of answers, whether there may be none) is what the folder says, unless a call says otherwise. Places count
// UTF-16 units: `passage.slice(start, end)`.
//
// The rules are those of mobilebert/data/qa/{features,spans,words}.py and mobilebert/inference/predictor.py.

import { WordPiece } from "./wordpiece.mjs";
import { entitiesOf, splitWords, widen, wordWindows } from "./words.mjs";

const N_BEST = 20; // candidates of a question, among which the probabilities sum to 1
const SPECIAL_TOKENS = 3; // [CLS], [SEP], [SEP]
const TOKENS_PER_RUN = 1024; // padding included
const HEADS = {
  ForQuestionAnswering: ["question-answering", "AutoModelForQuestionAnswering"],
  ForSequenceClassification: ["sequence-classification", "AutoModelForSequenceClassification"],
  ForTokenClassification: ["token-classification", "AutoModel"], // its own class knows no MobileBERT (4.3.2)
};
const DEFAULTS = {
  maxSeqLength: 384,
  docStride: 128,
  maxAnswerLength: 30,
  allowNoAnswer: false,
  nullScoreDiffThreshold: 0,
  threshold: 0.5,
};
const NOTED = { version_2_with_negative: "allowNoAnswer" }; // all others: the same words
// What Python's str.strip takes off, and the zero-width characters of `mobilebert.data.tables.bare`.
const BLANK = /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$/;
const BARE = /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]*$/;
const LONE_SURROGATE = /\p{Cs}/u;

/**
 * Load a model.
 * @param transformers the module `@huggingface/transformers`
 * @param {string} folder as transformers.js finds models; in Node "./outputs/squad-hub", not "outputs/squad-hub"
 * @param {object} options of its `from_pretrained`, such as `{ dtype: "q8" }`
 * @returns {Promise<Model>}
 */
export async function load(transformers, folder, options = {}) {
  const config = await transformers.AutoConfig.from_pretrained(folder, options);
  const architecture = config.architectures?.[0] ?? "";
  const found = Object.keys(HEADS).find((suffix) => architecture.endsWith(suffix));
  if (!found) {
    const known = Object.keys(HEADS).join(", ");
    throw new Error(`${folder}: architectures says ${architecture || "nothing"}; expected one that ends with ${known}`);
  }
  const [head, automatic] = HEADS[found];
  const [tokenizer, network] = await Promise.all([
    transformers.AutoTokenizer.from_pretrained(folder, options),
    transformers[automatic].from_pretrained(folder, options),
  ]);
  const run = async (inputs) => {
    const tensors = {};
    for (const [name, { data, dims }] of Object.entries(inputs)) {
      tensors[name] = new transformers.Tensor("int64", BigInt64Array.from(data, BigInt), dims);
    }
    return network(tensors);
  };
  return new Model({ head, config, tokenizer, run });
}

/** A model with its tokenizer. */
export class Model {
  /**
   * @param parts `head`, `config` and `tokenizer` of transformers.js, and `run`: `{input_ids, attention_mask,
   *   token_type_ids}`, each `{ data, dims }`, to a promise of the outputs by name, each `{ data, dims }`
   */
  constructor({ head, config, tokenizer, run }) {
    Object.assign(this, { head, config, run });
    this.tokenizer = new WordPiece(tokenizer);
    this.labels = Object.values(config.id2label ?? {});
    this.positions = config.max_position_embeddings;
    this.rules = { ...DEFAULTS };
    for (const [name, value] of Object.entries(config.task_specific_params?.[head] ?? {})) {
      const own = NOTED[name] ?? name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
      if (own in DEFAULTS) this.rules[own] = value;
    }
    const exported = tokenizer.config.model_max_length; // what export.py was told, or a number beyond all models
    if (exported > 0 && exported <= this.positions) this.rules.maxSeqLength = exported;
    this.rules.maxSeqLength = Math.min(this.rules.maxSeqLength, this.positions);
  }

  /** The answers of `read`, best first. */
  async answer(question, passage, options = {}) {
    return (await this.read(question, passage, options)).answers;
  }

  /**
   * Answer a question about a passage, in as many overlapping windows as it takes.
   * @param {string} question
   * @param {string} passage
   * @param {object} options `topK` (1), `wholeWords` (false), `isAborted`, asked before each run, and any of `rules`
   * @returns {Promise<{ answers: object[], nullOdds: number | null, windows: [number, number][] }>} each answer
   *   `{ text, start, end, probability, score }`, with "", -1 and -1 for no answer
   */
  async read(question, passage, { topK = 1, wholeWords = false, isAborted, ...options } = {}) {
    this.#require("question-answering", "answers questions");
    const rules = this.#settings(options);
    requireText("question", question, BARE);
    requireText("passage", passage, BLANK);
    for (const [name, value] of Object.entries({ topK, maxAnswerLength: rules.maxAnswerLength })) {
      if (!(value >= 1)) throw new Error(`${name}=${value}: expected at least 1`);
    }
    const rows = this.#windows(question, passage, rules);
    const width = Math.max(...rows.map((row) => row.ids.length));
    await this.#run(rows, isAborted, ({ start_logits, end_logits }, row, index) => {
      [row.startLogits, row.endLogits] = [start_logits, end_logits].map((output) => rowOf(output, index, row));
    });
    const size = Math.max(N_BEST, topK);
    let ranked = rank(rows, rules, size);
    // All of the best tokens were the question's: look at every token.
    if (!ranked.spans.some(hasText)) ranked = rank(rows, rules, width);
    return {
      answers: answersOf(ranked, passage, size, wholeWords).slice(0, topK),
      nullOdds: ranked.nullOdds,
      windows: rows.map(({ places }) => {
        const inside = places.filter(Boolean);
        return inside.length ? [inside[0][0], endWithMarks(passage, inside.at(-1)[1])] : [0, 0];
      }),
    };
  }

  /**
   * Classify a text, or a pair of texts; what is too long is cut off, from the longer text of a pair.
   * @param {string} text
   * @param {string | null} pair
   * @param {object} options `threshold`, `maxSeqLength`, `isAborted`
   * @returns {Promise<{ label: string, score: number, scores: Record<string, number>, chosen: string[] | null }>}
   */
  async classify(text, pair = null, { isAborted, ...options } = {}) {
    this.#require("sequence-classification", "classifies texts");
    const rules = this.#settings(options);
    if (!(rules.threshold > 0 && rules.threshold < 1)) {
      throw new Error(`threshold=${rules.threshold}: expected a probability between 0 and 1`);
    }
    const parts = [text, pair].filter((part) => part !== null);
    parts.forEach((part, index) => requireText(index ? "pair" : "text", part));
    const encoded = parts.map((part) => this.tokenizer.encode(part).ids);
    const lengths = longestFirst(encoded.map((ids) => ids.length), rules.maxSeqLength - parts.length - 1);
    const row = this.#row(encoded.map((ids, index) => ids.slice(0, lengths[index])));
    let logits;
    await this.#run([row], isAborted, (outputs) => (logits = Array.from(finite(outputs.logits.data))));
    return this.#classification(logits, rules.threshold);
  }

  /**
   * Find entities, in the order of the text.
   * @param {string} text
   * @param {object} options `maxSeqLength`, `docStride`, `isAborted`
   * @returns {Promise<object[]>} each `{ text, start, end, type, score }`
   */
  async entities(text, { isAborted, ...options } = {}) {
    this.#require("token-classification", "finds entities");
    const rules = this.#settings(options);
    requireText("text", text);
    if (rules.docStride >= rules.maxSeqLength - 2) {
      throw new Error(`docStride=${rules.docStride}: windows of maxSeqLength=${rules.maxSeqLength} would never advance`);
    }
    const words = splitWords(text);
    const pieces = words.flatMap(([start, end], word) =>
      this.tokenizer.encode(text.slice(start, end)).ids.map((id) => ({ id, word })),
    );
    const rows = wordWindows(pieces, rules).map((tokens) => ({ ...this.#row([tokens.map(({ id }) => id)]), tokens }));
    await this.#run(rows, isAborted, ({ logits }, row, index) => {
      row.logits = rowOf(logits, index, row);
    });
    return entitiesOf(text, words, rows, this.labels);
  }

  #require(head, purpose) {
    if (this.head !== head) throw new Error(`this model's head is ${this.head}; only ${head} ${purpose}`);
  }

  /** What a call says, the rest as the folder has it. A stride that nobody asked for is a third of a row at most. */
  #settings(options) {
    const unknown = Object.keys(options).find((name) => !(name in DEFAULTS));
    if (unknown) throw new Error(`${unknown}: no option; expected ${Object.keys(DEFAULTS).join(", ")}`);
    const said = Object.fromEntries(Object.entries(options).filter(([, value]) => value != null));
    const rules = { ...this.rules, ...said };
    if (!(rules.maxSeqLength >= 4 && rules.maxSeqLength <= this.positions)) {
      throw new Error(`maxSeqLength=${rules.maxSeqLength}: expected 4 to ${this.positions} tokens`);
    }
    if (!("docStride" in said)) rules.docStride = Math.min(rules.docStride, Math.floor(rules.maxSeqLength / 3));
    if (!(rules.docStride >= 0)) throw new Error(`docStride=${rules.docStride}: expected at least 0`);
    return rules;
  }

  /** [CLS] question [SEP] context [SEP], as often as it takes; `places` of the context's tokens, null of others. */
  #windows(question, passage, { maxSeqLength, docStride }) {
    const asked = this.tokenizer.encode(question).ids;
    const { ids, places } = this.tokenizer.encode(passage);
    const space = maxSeqLength - SPECIAL_TOKENS - asked.length;
    if (ids.length > space && space <= docStride) {
      throw new Error(
        `the question's ${asked.length} tokens leave the passage ${space} of maxSeqLength=${maxSeqLength}, ` +
          `not more than docStride=${docStride}; raise the one or lower the other`,
      );
    }
    const step = Math.max(space - docStride, 1);
    const count = 1 + Math.max(Math.ceil((ids.length - space) / step), 0);
    return Array.from({ length: count }, (_, window) => {
      const [low, high] = [window * step, window * step + space];
      const none = Array(asked.length + 2).fill(null);
      return { ...this.#row([asked, ids.slice(low, high)]), places: [...none, ...places.slice(low, high), null] };
    });
  }

  /** [CLS] first [SEP], or [CLS] first [SEP] second [SEP]; `second` is where that begins. */
  #row([first, second]) {
    const { cls, sep } = this.tokenizer;
    const ids = [cls, ...first, sep];
    return { second: ids.length, ids: second ? [...ids, ...second, sep] : ids };
  }

  /** Run rows in batches as `mobilebert.inference.rows` does: the ranges of dynamic int8 are those of a batch. */
  async #run(rows, isAborted, take) {
    const longest = [...rows].sort((one, other) => other.ids.length - one.ids.length); // stable
    while (longest.length) {
      if (await isAborted?.()) throw new Error("aborted");
      const width = longest[0].ids.length;
      const batch = longest.splice(0, Math.max(1, Math.floor(TOKENS_PER_RUN / width)));
      const dims = [batch.length, width];
      const filled = (value) => ({
        dims,
        data: batch.flatMap((row) => Array.from({ length: width }, (_, place) => value(row, place))),
      });
      const outputs = await this.run({
        input_ids: filled(({ ids }, place) => ids[place] ?? this.tokenizer.pad),
        attention_mask: filled(({ ids }, place) => Number(place < ids.length)),
        token_type_ids: filled(({ ids, second }, place) => Number(place >= second && place < ids.length)),
      });
      batch.forEach((row, index) => take(outputs, row, index));
    }
  }

  #classification(logits, threshold) {
    const kind = this.config.problem_type;
    const labelled = (scores) => Object.fromEntries(this.labels.map((label, index) => [label, scores[index]]));
    let scores = logits;
    let chosen = null;
    if (kind === "multi_label_classification") {
      scores = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
      const above = this.labels.map((label, index) => ({ label, score: scores[index] }));
      chosen = above.filter(({ score }) => score > threshold).sort((one, other) => other.score - one.score);
      chosen = chosen.map(({ label }) => label);
    } else if (!this.isRegression) {
      scores = softmax(logits);
    }
    const best = scores.indexOf(Math.max(...scores));
    return { label: this.labels[best], score: scores[best], scores: labelled(scores), chosen };
  }

  /** Whether a classification is a number, not a class. */
  get isRegression() {
    const kind = this.config.problem_type ?? null;
    return kind === "regression" || (kind === null && this.labels.length === 1);
  }
}

// ---------------------------------------------------------------- spans

const hasText = (span) => span.end > span.start;
const STAND_IN = { start: 0, end: 0, startLogit: 0, endLogit: 0, score: 0 }; // where a question has no candidate at all

/** The best spans of a question's rows, "no answer" among them where it is allowed, and the one to give. */
function rank(rows, { maxAnswerLength, allowNoAnswer, nullScoreDiffThreshold }, size) {
  let spans = rows.flatMap((row) => rowSpans(row, maxAnswerLength, size));
  if (rows.length > 1) spans = spans.sort((one, other) => other.score - one.score).slice(0, size); // stable
  const noAnswers = rows.map(({ startLogits, endLogits }) => spanOf(0, 0, startLogits[0], endLogits[0]));
  const lowest = noAnswers.reduce((least, span) => (span.score < least.score ? span : least));
  const none = allowNoAnswer ? lowest : null;
  if (!spans.length && !rows.some(({ places }) => places.some(Boolean))) {
    const span = none ?? spanOf(0, 0, 0, 0); // a context without a token can hold no answer, whatever is allowed
    return { spans: [span], best: span, nullOdds: none && none.score };
  }
  if (none) {
    const place = spans.findIndex((span) => span.score < none.score);
    spans.splice(place < 0 ? spans.length : place, 0, none);
    if (place >= 0 && place < size) spans.length = Math.min(spans.length, size);
  }
  if (!spans.length || (spans.length === 1 && !hasText(spans[0]))) spans.unshift(STAND_IN);
  if (!none) return { spans, best: spans[0], nullOdds: null };
  const best = spans.find((span) => hasText(span) || span === STAND_IN) ?? STAND_IN;
  const nullOdds = Math.fround(Math.fround(none.score - best.startLogit) - best.endLogit);
  return { spans, best: nullOdds > nullScoreDiffThreshold ? none : best, nullOdds };
}

/** Spans between the best start and the best end tokens of a row, best first; of equals by rank of start, then end. */
function rowSpans({ places, startLogits, endLogits }, maxAnswerLength, size) {
  const endRank = new Map(largest(endLogits, size).map((token, place) => [token, place]));
  const spans = [];
  largest(startLogits, size).forEach((first, startRank) => {
    if (!places[first]) return;
    const ends = [];
    for (let last = first; last < Math.min(first + maxAnswerLength, places.length); last++) {
      if (places[last] && endRank.has(last)) ends.push(last);
    }
    ends.sort((one, other) => endRank.get(one) - endRank.get(other));
    for (const last of ends) {
      spans.push(spanOf(places[first][0], places[last][1], startLogits[first], endLogits[last]));
    }
  });
  return spans.sort((one, other) => other.score - one.score).slice(0, size); // stable
}

/** The score is what spans are ranked by: a sum in float32, as NumPy makes it. */
function spanOf(start, end, startLogit, endLogit) {
  return { start, end, startLogit, endLogit, score: Math.fround(startLogit + endLogit) };
}

/** Places of the largest values, largest first; of equals the last, as NumPy's reversed sort has them in short rows. */
function largest(values, count) {
  const places = Array.from(values, (_, place) => place);
  return places.sort((one, other) => values[other] - values[one] || other - one).slice(0, count);
}

/** Spans as answers at different places, the chosen one first. */
function answersOf({ spans, best }, passage, size, wholeWords) {
  const none = [-1, -1];
  const placeOf = (span) => {
    if (!hasText(span)) return none;
    const bounds = [span.start, endWithMarks(passage, span.end)];
    return wholeWords ? widen(passage, ...bounds) : bounds;
  };
  const found = new Map();
  for (const span of spans) {
    const [start, end] = placeOf(span);
    // Neighbouring windows offer a place twice: the better one stays.
    const key = `${start} ${end}`;
    if (!found.has(key)) found.set(key, { start, end, score: span.startLogit + span.endLogit });
  }
  const kept = [...found.values()].filter(({ start }, index) => index < size || start < 0);
  const shares = softmax(kept.map(({ score }) => score));
  const answers = kept.map(({ start, end, score }, index) => {
    return { text: start < 0 ? "" : passage.slice(start, end), start, end, probability: shares[index], score };
  });
  // The threshold may prefer another than the likeliest: no answer, or the best that is one.
  const [start, end] = placeOf(best);
  const chosen = Math.max(0, answers.findIndex((answer) => answer.start === start && answer.end === end));
  return [answers[chosen], ...answers.slice(0, chosen), ...answers.slice(chosen + 1)];
}

/** Behind the marks of a token's last character: "Café", not "Cafe", in decomposed text. */
function endWithMarks(text, end) {
  const marks = /[\p{Mn}\p{Me}]*/uy;
  marks.lastIndex = end;
  return end + marks.exec(text)[0].length;
}

// ---------------------------------------------------------------- numbers

function softmax(values) {
  const most = Math.max(...values);
  const weights = values.map((value) => Math.exp(value - most));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** What an output [B, S] or [B, S, L] says of a row's own tokens. */
function rowOf({ data, dims }, index, { ids }) {
  const perToken = dims[2] ?? 1;
  const first = index * dims[1] * perToken;
  return finite(data.subarray(first, first + ids.length * perToken));
}

function finite(values) {
  const limit = 3.4028234663852886e38 / 4; // null odds are a sum of four
  if (values.every((value) => Math.abs(value) <= limit)) return values;
  throw new Error("the model's outputs are not numbers; did the training diverge, is the file damaged?");
}

/** Tokens that each text keeps where both are longer than `room` together. */
function longestFirst(lengths, room) {
  if (lengths.length === 1) return [Math.min(lengths[0], room)];
  if (lengths[0] + lengths[1] <= room) return lengths;
  let [shorter, longer] = [...lengths].sort((one, other) => one - other);
  longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
  if (shorter + longer > room) [shorter, longer] = [Math.floor(room / 2), Math.ceil(room / 2)];
  return lengths[0] > lengths[1] ? [longer, shorter] : [shorter, longer];
}

function requireText(name, text, blank = null) {
  if (typeof text !== "string") throw new Error(`${name}: expected a text, got ${typeof text}`);
  if (blank?.test(text)) throw new Error(`the ${name} is empty`);
  if (LONE_SURROGATE.test(text)) throw new Error(`${name}: has half of a surrogate pair, which is no character`);
}
