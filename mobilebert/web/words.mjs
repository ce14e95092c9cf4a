// Words of a text by their places: answers widened to whole words, and entities out of the tags of words.
//
// The rules are those of mobilebert/data/qa/words.py, mobilebert/data/ner/{words,encode,schemes}.py and
// mobilebert/inference/entities.py.

// ---------------------------------------------------------------- answers in whole words

// Scripts without spaces between words, and Korean's, where the space stands behind a word's particles.
const UNSPACED = new RegExp(
  "[\\u0e00-\\u109f\\u1100-\\u11ff\\u1780-\\u17ff\\u1950-\\u1aaf\\u2e80-\\ua4cf\\ua960-\\ua9ff\\uaa60-\\uaadf" +
    "\\uac00-\\ud7ff\\uf900-\\ufaff\\uff65-\\uffdc\\u{16fe0}-\\u{18cff}\\u{1aff0}-\\u{1b2ff}\\u{20000}-\\u{3ffff}]",
  "u",
);
// Without a place of their own: combining marks, and what the tokenizer drops.
const JOINED = /[\p{Mn}\p{Me}\p{Cf}\p{Cc}\p{Co}]/u;
const MARK = /\p{M}/u;

/** Move the bounds of an answer out of words. */
export function widen(text, start, end) {
  const kinds = Array.from(text.slice(start, end), kindOf).filter((kind) => kind !== null);
  return [wordStart(text, start, kinds[0] ?? ""), wordEnd(text, end, kinds.at(-1) ?? "")];
}

function wordStart(text, bound, kind) {
  let reached = bound;
  for (const character of kind ? Array.from(text.slice(0, bound)).reverse() : []) {
    const met = kindOf(character);
    if (met !== kind && met !== null) break;
    bound -= character.length;
    if (met !== null) reached = bound;
  }
  return reached;
}

function wordEnd(text, bound, kind) {
  let reached = bound;
  while (kind && bound < text.length) {
    const character = String.fromCodePoint(text.codePointAt(bound));
    const met = kindOf(character);
    if (met !== kind && met !== null) break;
    bound += character.length;
    if (met !== null || MARK.test(character)) reached = bound; // a mark belongs to what stands before it
  }
  return reached;
}

/** "letter", "digit", "" for all that a word ends at, null for what has no place of its own. */
function kindOf(character) {
  if ("\t\n\r".includes(character) || UNSPACED.test(character)) return "";
  if (JOINED.test(character)) return null;
  return /[\p{L}\p{Mc}]/u.test(character) ? "letter" : /\p{Nd}/u.test(character) ? "digit" : "";
}

// ---------------------------------------------------------------- words and entities

const SPACE = /[\t-\r\x1c-\x20\x85\u2028\u2029\p{Zs}]/u;
const ALONE = new RegExp(
  "[!-/:-@\\[-`{-~\\p{P}\\u4e00-\\u9fff\\u3400-\\u4dbf\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}" +
    "\\u{2b740}-\\u{2b81f}\\u{2b820}-\\u{2ceaf}\\uf900-\\ufaff\\u{2f800}-\\u{2fa1f}]",
  "u",
);

/** The places of a text's words: at white space, each punctuation mark and each Chinese character by itself. */
export function splitWords(text) {
  const places = [];
  let start = null;
  let at = 0;
  const end = () => {
    if (start !== null) places.push([start, at]);
    start = null;
  };
  for (const character of text) {
    const isAlone = ALONE.test(character);
    if (isAlone || SPACE.test(character)) end();
    else start ??= at;
    if (isAlone) places.push([at, at + character.length]);
    at += character.length;
  }
  end();
  return places;
}

/**
 * Cut pieces into windows; the first piece of each word is read in the one where it has most context.
 * @param {{ id: number, word: number }[]} pieces
 * @returns {{ id: number, word: number | null }[][]} `word` of the pieces to be read, null of all others
 */
export function wordWindows(pieces, { maxSeqLength, docStride }) {
  const space = maxSeqLength - 2;
  const windows = [];
  const best = new Map(); // word -> { context, token }
  for (let low = 0; low === 0 || low + docStride < pieces.length; low += space - docStride) {
    const tokens = pieces.slice(low, low + space).map(({ id }) => ({ id, word: null }));
    tokens.forEach((token, place) => {
      const { word } = pieces[low + place];
      const context = Math.min(place, tokens.length - 1 - place);
      const begins = pieces[low + place - 1]?.word !== word;
      if (begins && context > (best.get(word)?.context ?? -1)) best.set(word, { context, token });
    });
    windows.push(tokens);
  }
  for (const [word, { token }] of best) token.word = word;
  return windows;
}

/**
 * What a model's logits mark.
 * @param {string} text
 * @param {[number, number][]} words places
 * @param {{ tokens: { word: number | null }[], logits: Float32Array }[]} rows [CLS], tokens, [SEP]
 * @param {string[]} labels
 */
export function entitiesOf(text, words, rows, labels) {
  const tags = words.map(() => ({ tag: "O", score: 0 })); // a word that the tokenizer drops stays so
  for (const { tokens, logits } of rows) {
    tokens.forEach(({ word }, place) => {
      if (word === null) return;
      const own = logits.subarray((place + 1) * labels.length, (place + 2) * labels.length);
      const most = Math.max(...own);
      const sum = own.reduce((total, logit) => total + Math.exp(logit - most), 0);
      tags[word] = { tag: labels[own.indexOf(most)], score: 1 / sum };
    });
  }
  return marked(tags.map(({ tag }) => tag), labels).map(([type, first, last]) => {
    const [start, end] = [words[first][0], words[last - 1][1]];
    const scores = tags.slice(first, last).map(({ score }) => score);
    const score = scores.reduce((total, each) => total + each, 0) / scores.length;
    return { text: text.slice(start, end), start, end, type, score };
  });
}

/** Entities [type, first word, behind the last] of tags, read leniently, as seqeval does. */
function marked(tags, labels) {
  const isPlain = !labels.includes("O") || labels.some((label) => splitTag(label) === null);
  if (isPlain) return tags.flatMap((tag, place) => (tag === "O" ? [] : [[tag, place, place + 1]]));
  const found = [];
  let start = 0;
  let [before, kindBefore] = ["O", ""];
  [...tags, "O"].forEach((tag, place) => {
    const [prefix, kind] = splitTag(tag);
    const goesOn = "IE".includes(prefix) && "BI".includes(before) && kind === kindBefore;
    if (before !== "O" && !goesOn) found.push([kindBefore, start, place]);
    if (!goesOn) start = place;
    [before, kindBefore] = [prefix, kind];
  });
  return found;
}

/** Prefix (BILOU's letters as IOBES') and type of a tag; null where it is no such tag. */
function splitTag(tag) {
  if (tag === "O") return ["O", ""];
  const [, prefix, kind] = /^([BIESLU])-(.+)$/s.exec(tag) ?? [];
  return prefix ? [{ L: "E", U: "S" }[prefix] ?? prefix, kind] : null;
}
