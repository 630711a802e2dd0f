// What the model can hear: its phrases, searched as one types.

import { ServerError, searchPhrases } from "./client.js";
import { byId, intentTag, make } from "./elements.js";
import { number, text } from "./texts.js";

const FEW = 40;
const SEARCH_AFTER = 250; // milliseconds without a key, after which the server searches
const ACCENTED = /^.\p{Mn}+$/u;
const MARK = /(\{[^{}]*\}|[[\]()|;])/;

let card = null;
let grammar = null; // the answer of GET /v1/speechmodel/phrases
let intents = new Map(); // the intent of each phrase that has one
let all = false;
let beyond = null; // the answer of the server to a search, if the page does not have every phrase
let asking = null; // AbortController of the search that waits or runs

/** Show the phrases of a grammar, or that the model transcribes free text. */
export function showPhrases(ofCard, ofGrammar) {
  [card, grammar] = [ofCard, ofGrammar];
  intents = new Map(Object.entries(grammar.intent_of));
  const some = grammar.phrases.length > 0;
  byId("phrases-some").hidden = !some;
  byId("phrases-none").hidden = some;
  const words = Object.keys(card.hot_words).join(", ");
  byId("phrases-none").textContent =
    text(card.language_model ? "freeSpeechModel" : "freeSpeech") + (words ? ` ${text("hotWords", { words })}` : "");
  find();
}

function find() {
  if (!grammar) return;
  const wanted = folded(byId("search").value.trim());
  const listed = wanted ? grammar.phrases.filter((phrase) => fits(phrase, wanted)) : [];
  const items = wanted
    ? [...new Set([...listed, ...(beyond?.phrases ?? [])])].map((phrase) => plain(phrase, wanted))
    : written();
  const [found, count] = [number(items.length), number(grammar.phrases.length)];
  const byIntent = Object.keys(grammar.intents).some((name) => folded(name).includes(wanted)); // not by the server
  const everything = beyond?.complete && !byIntent;
  const searched = beyond ? (everything ? "phrasesFoundAll" : "phrasesFoundSome") : "phrasesFoundFirst";
  byId("phrases-count").textContent = wanted
    ? text(grammar.complete ? "phrasesFound" : searched, { found, count })
    : text(grammar.complete ? "phrasesCount" : "phrasesFirst", { count });
  byId("more").hidden = all || items.length <= FEW;
  byId("phrases").replaceChildren(...(all ? items : items.slice(0, FEW)));
}

/** Search among the phrases that the page does not have, once nobody types. Without an answer, those that it has stay. */
async function askServer() {
  asking?.abort();
  beyond = null;
  const wanted = byId("search").value.trim();
  if (!grammar || grammar.complete || !wanted) return;
  const mine = (asking = new AbortController());
  await new Promise((resolve) => setTimeout(resolve, SEARCH_AFTER));
  if (mine.signal.aborted) return;
  try {
    const answer = await searchPhrases(wanted, mine.signal);
    if (mine.signal.aborted) return;
    beyond = answer;
  } catch (error) {
    if (mine.signal.aborted || error instanceof ServerError) return;
    throw error;
  }
  for (const [phrase, intent] of Object.entries(beyond.intent_of)) intents.set(phrase, intent);
  find();
}

/** Return true for a phrase with these letters, or of an intent with these letters in its name. */
const fits = (phrase, wanted) => folded(phrase).includes(wanted) || folded(intents.get(phrase) ?? "").includes(wanted);

/** Return the templates and lists as the manifest has them, or every phrase when there are none. */
function written() {
  const named = [["", grammar.written], ...Object.entries(grammar.intents)];
  const templates = named.flatMap(([intent, own]) =>
    own.map((template) => make("li", {}, ...marked(template), ...intentTag(intent))),
  );
  if (templates.length === 0) return grammar.phrases.map((phrase) => plain(phrase, ""));
  const lists = Object.entries(grammar.lists).map(([name, values]) =>
    make("li", { className: "list" }, make("b", { textContent: `{${name}}` }), " ", ...marked(values.join(" · "))),
  );
  return [...templates, ...lists];
}

/** Return a template with its syntax set apart from its words. */
function marked(template) {
  return template
    .split(MARK)
    .filter(Boolean)
    .map((part) => (MARK.test(part) ? make(part.startsWith("{") ? "b" : "i", { textContent: part }) : part));
}

function plain(phrase, wanted) {
  const place = wanted ? folded(phrase).indexOf(wanted) : -1;
  if (place < 0) return make("li", {}, phrase, ...intentTag(intents.get(phrase)));
  const end = place + wanted.length;
  const composed = phrase.normalize("NFC");
  const found = make("mark", { textContent: composed.slice(place, end) });
  return make("li", {}, composed.slice(0, place), found, composed.slice(end), ...intentTag(intents.get(phrase)));
}

/**
 * Return a text without capitals and accents. The length of a composed text (NFC) stays, so that places in it are places in
 * the text. A syllable of Hangul is no letter with accents, so it stays whole.
 */
const folded = (phrase) => [...phrase.normalize("NFC")].map(foldedLetter).join("");

function foldedLetter(letter) {
  const parts = letter.normalize("NFD");
  const small = (ACCENTED.test(parts) ? String.fromCodePoint(parts.codePointAt(0)) : letter).toLowerCase();
  return small.length === letter.length ? small : letter;
}

byId("search").addEventListener("input", () => {
  all = false;
  askServer();
  find();
});
byId("more").addEventListener("click", () => {
  all = true;
  find();
  byId("phrases").children[FEW]?.scrollIntoView({ block: "nearest" });
});
