// Recording takes for the dataset: one sentence after the other, as often as it is wanted.

import { ServerError, countTakes, deleteTake, fetchCard, fetchPhrases, forgetSpeaker, saveTake } from "./client.js";
import { bar, byId, make } from "./elements.js";
import { keep, recall } from "./memory.js";
import { Recording, microphoneOffered, wav } from "./recorder.js";
import { lookAtRetraining, offerRetraining, showRetraining } from "./retrain.js";
import { moment, number, offerLanguages, text, withNewLetters } from "./texts.js";

const LONGEST_RECORDING = 30; // seconds, as the server takes
const SHORTEST_RECORDING = 0.3;
const MOST_LISTED = 200;
const SPEAKER = "speaker";
const CONSENT = "consent";

let name = "";
let sentences = []; // those of the grammar, those that have takes, and those that were typed
let counts = { wanted: 5, speakers: 0, sentences: {} };
let counting = null; // the promise of the newest counts
let sentence = "";
let chosen = false; // the speaker chose the sentence, so counts do not change it
let recording = null; // a Recording; "asking" while the browser asks for the microphone
let taken = null; // { file, sentence, speaker }: the take that is recorded or saved now
let last = null; // the take that was saved last
let forgotten = null; // the answer to the last deletion of a speaker, and the speaker
let said = null; // [key, values] of the status
let problem = null;
let again = null; // repeats what failed

async function load() {
  try {
    const card = await fetchCard();
    const grammar = await fetchPhrases();
    name = card.name;
    sentences = [...new Set([...grammar.phrases, ...sentences])];
    byId("misheard-page").hidden = card.misheard_days === null;
    offerRetraining(card);
    await offer();
  } catch (error) {
    report(error);
  }
  showAll();
}

/** Count the takes again. Returns false if newer counts are on their way, or there already. */
async function recount() {
  const asked = (counting = countTakes(speaker()));
  let answer;
  try {
    answer = await asked;
  } catch (error) {
    if (asked === counting) throw error;
  }
  if (asked !== counting) return false;
  counts = answer;
  sentences = [...new Set([...sentences, ...Object.keys(counts.sentences)])];
  lookAtRetraining();
  return true;
}

/** Count the takes again, and show the first sentence of which there are the fewest, unless another one was chosen. */
async function offer() {
  if (!(await recount()) || chosen || !idle()) return;
  sentence = "";
  sentence = next();
}

const mine = (each) => counts.sentences[each]?.mine ?? 0;

/** Return the next sentence after the current one of which the speaker has the fewest takes. */
function next() {
  const start = sentences.indexOf(sentence) + 1;
  const inTurn = [...sentences.slice(start), ...sentences.slice(0, start)];
  return inTurn.reduce((best, each) => (best === null || mine(each) < mine(best) ? each : best), null) ?? "";
}

function choose(wanted) {
  sentence = wanted;
  chosen = true;
  show("idle", null);
}

// --- recording ---

async function begin() {
  if (!idle() || !ready()) return;
  recording = "asking";
  taken = { sentence, speaker: speaker() };
  byId("problem").hidden = true;
  show("asking", "asking");
  try {
    recording = await Recording.start({ mostSeconds: LONGEST_RECORDING, onLevel: showLevel, onEnd: end });
  } catch (error) {
    recording = null;
    again = null;
    const keys = { NotFoundError: "noMicrophoneFound", NotAllowedError: "denied" };
    complain(keys[error.name] ?? "inUse");
    return;
  }
  show("recording", "recordingTake");
}

function showLevel(level) {
  byId("record").style.setProperty("--level", Math.max(0, Math.min(1, (level + 60) / 50)));
}

async function end() {
  if (!(recording instanceof Recording)) return;
  const { seconds, silent } = recording;
  const sound = recording.stop();
  recording = null;
  again = null;
  if (seconds < SHORTEST_RECORDING) complain("brief");
  else if (silent) complain("silent");
  else {
    taken.file = wav(sound);
    await save();
  }
}

function discard() {
  if (!(recording instanceof Recording)) return;
  recording.stop();
  recording = null;
  show("idle", "discarded");
}

async function save() {
  byId("problem").hidden = true;
  show("busy", "saving");
  try {
    last = await saveTake(taken.file, taken.sentence, taken.speaker);
  } catch (error) {
    report(error, save);
    return;
  }
  // one of the speaker's own is counted as it is trained, so that is what the list has from now on
  sentences = [...new Set(sentences.map((each) => (each === taken.sentence ? last.text : each)))];
  sentence = last.text;
  try {
    await recount();
  } catch (error) {
    report(error);
    return;
  }
  const { text: saved, heard, new_letters: letters = [] } = last; // an older server names none
  sentence = next();
  show("idle", heard === saved ? "saved" : heard ? "savedHeard" : "savedNothing", { text: saved, heard, letters: letters.join(" ") });
}

async function undo() {
  if (!idle()) return;
  show("busy", null);
  try {
    await deleteTake(last.speaker, last.id);
    sentence = last.text;
    last = null;
    await recount();
    show("idle", "undone");
  } catch (error) {
    report(error);
  }
}

async function forget() {
  const name = speaker();
  if (!idle() || !name || !confirm(text("forgetSure", { speaker: name }))) return;
  forgetProblem(); // a take that was not saved must not be saved after all
  show("busy", null);
  try {
    const answer = await forgetSpeaker(name);
    last = null;
    forgotten = { ...answer, speaker: name };
    const { deleted } = answer;
    await recount();
    show("idle", "forgotten", { count: number(deleted), speaker: name });
  } catch (error) {
    report(error);
  }
}

// --- what is shown ---

const speaker = () => byId("speaker").value.trim();
const idle = () => !recording && document.body.dataset.state !== "busy"; // a take belongs to the sentence that was shown
const ready = () => microphoneOffered() && speaker() && byId("consent").checked && sentence;

function show(state, key, values = {}) {
  document.body.dataset.state = state;
  said = key && [key, values];
  showAll();
}

function showAll() {
  document.title = name || "SpeechModel";
  byId("name").textContent = name || "SpeechModel";
  const state = document.body.dataset.state;
  byId("record-name").textContent = text(state === "recording" ? "stop" : "recordTake");
  byId("record").disabled = !ready() || state === "busy";
  byId("record").style.setProperty("--level", 0);
  byId("status").textContent = said ? withNewLetters(...said) : "";
  const missing = !microphoneOffered() ? "noMicrophoneTakes" : speaker() && byId("consent").checked ? "hintTake" : "whoFirst";
  byId("record-hint").textContent = text(missing, { origin: location.origin, name: name || "NAME" });
  byId("sentence").textContent = sentence || text("noSentence");
  byId("progress").textContent = sentence ? text("takesOf", { mine: number(mine(sentence)), wanted: number(counts.wanted) }) : "";
  byId("undo").hidden = !last;
  byId("skip").disabled = sentences.length < 2 || !idle();
  byId("speaker").disabled = byId("own-text").disabled = !idle();
  byId("forget").disabled = !speaker() || !idle();
  showMade();
  showRetraining();
  const done = sentences.filter((each) => mine(each) >= counts.wanted).length;
  byId("total").textContent = text("sentencesDone", { done: number(done), all: number(sentences.length) });
  byId("sentences").replaceChildren(...sentences.slice(0, MOST_LISTED).map(item));
  if (problem && !byId("problem").hidden) byId("problem-text").textContent = text(...problem);
}

/** Show the versions that were made with takes of the speaker who was forgotten, and what to do about them. */
function showMade() {
  byId("made").replaceChildren();
  if (!forgotten) return;
  const { versions, unknown_versions: unknown, speaker } = forgotten;
  const lines = (versions ?? []).map(({ version, published_at: time, served }) =>
    make("li", {}, make("code", { textContent: version }), ` ${text(served ? "madeServed" : "madeEarlier", { time: moment(new Date(time)) })}`),
  );
  const key = versions === null ? "madeUnknown" : lines.length ? "madeWith" : "madeWithout";
  byId("made").append(make("p", { textContent: text(key, { speaker }) }));
  if (lines.length) byId("made").append(make("ul", {}, ...lines), make("p", { textContent: text("madeAdvice") }));
  if (unknown) byId("made").append(make("p", { textContent: text("madeBefore", { count: number(unknown) }) }));
}

function item(each) {
  const button = make(
    "button",
    { type: "button" },
    make("span", { className: "what", textContent: each }),
    make("span", { className: "soft small", textContent: `${number(mine(each))} / ${number(counts.wanted)}` }),
    bar(mine(each) / counts.wanted),
  );
  if (each === sentence) button.ariaCurrent = "true";
  button.addEventListener("click", () => {
    if (!idle()) return;
    choose(each);
    byId("sentences").querySelector("[aria-current]")?.focus();
  });
  return make("li", {}, button);
}

const PROBLEMS = ["take_silent", "take_clipped", "take_faint", "take_too_long", "cross_site"];

/** Say in plain words why a request failed, and offer to repeat it where that may help. */
function report(error, retry = null) {
  if (!(error instanceof ServerError)) throw error;
  const { status, code, message, passing } = error;
  again = passing || status === 0 || status >= 500 ? retry : null;
  if (status === 401) complain("keyFirst");
  else if (status === 404 && !code) complain("noTakes");
  else if (status === 0) complain("unreachable");
  else complain(PROBLEMS.includes(code) ? code : "other", { message });
}

function complain(key, values = {}) {
  problem = [key, values];
  byId("again").hidden = !again;
  byId("problem").hidden = false;
  show("idle", null);
}

function forgetProblem() {
  again = null;
  byId("problem").hidden = true;
}

// --- what the user does ---

byId("record").addEventListener("click", () => (recording ? end() : begin()));
byId("undo").addEventListener("click", undo);
byId("again").addEventListener("click", () => idle() && again());
byId("forget").addEventListener("click", forget);
byId("skip").addEventListener("click", () => {
  choose(sentences[(sentences.indexOf(sentence) + 1) % sentences.length]);
});
byId("own").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!idle()) return;
  const own = byId("own-text").value.trim();
  if (own) sentences = [...new Set([own, ...sentences])];
  byId("own-text").value = "";
  choose(own);
});
byId("speaker").addEventListener("change", async () => {
  keep("localStorage", SPEAKER, speaker());
  last = null;
  sentence = "";
  chosen = false;
  forgetProblem(); // a take that was not saved is that of the name before
  byId("undo").hidden = byId("record").disabled = true; // until the takes of this name are counted
  try {
    await offer();
  } catch (error) {
    if (!idle()) return; // whatever is done now counts again
    report(error);
  }
  showAll();
});
byId("speaker").addEventListener("input", showAll);
byId("consent").addEventListener("change", () => {
  keep("localStorage", CONSENT, byId("consent").checked ? "true" : "");
  showAll();
});
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape") discard();
  if (event.key !== " " || event.repeat || event.target.closest("input, select, textarea, button, a")) return;
  event.preventDefault();
  if (recording) end();
  else begin();
});

byId("speaker").value = recall("localStorage", SPEAKER);
byId("consent").checked = recall("localStorage", CONSENT) === "true";
offerLanguages(byId("language"), showAll);
load();
