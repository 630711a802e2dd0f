// The page: speak or choose a file, and see what the model hears.

import { ServerError, fetchCard, fetchPhrases, transcribe, useKey } from "./client.js";
import { bar, byId, intentTag, make } from "./elements.js";
import { LiveWords } from "./live.js";
import { showModel } from "./model.js";
import { showPhrases } from "./phrases.js";
import { Recording, decode, microphoneOffered, wav } from "./recorder.js";
import { clock, duration, languageName, megabytes, number, percent, offerLanguages, text } from "./texts.js";
import { showTimeline } from "./timeline.js";

const LONGEST_RECORDING = 60; // seconds
const SHORTEST_RECORDING = 0.3;
const HOLD = 400; // milliseconds after which a press of the button is held, and its release ends the recording
const TRIES = 4;
const MOST_ENTRIES = 20;

const record = byId("record");
let card = null;
let grammar = null;
let recording = null; // a Recording; "asking" while the browser asks for the microphone
let asked = 0; // times that a recording began or was cancelled
let live = null; // the LiveWords of the recording
let entries = []; // { name, file, sound, answer, at }, the newest first
let current = null;
let problem = null; // { key, values, retry }
let sending = null; // AbortController of the request that runs
let pressed = 0;

// --- the model ---

async function load() {
  byId("problem").hidden = true;
  show("loading", "");
  try {
    card = await patiently(fetchCard, Infinity);
    if (current && !current.answer.text) showEntry(current); // how "nothing" reads depends on the model
    else showEntries();
    grammar = await patiently(fetchPhrases, TRIES);
  } catch (error) {
    report(error, load);
    return;
  }
  if (document.body.dataset.state === "loading") show("idle", "");
  showServer();
}

function showServer() {
  document.title = card.name;
  byId("name").textContent = card.name;
  byId("about-line").textContent = `${languageName(card.language)} · ${card.version}`;
  byId("curl").textContent = `curl -F file=@recording.wav ${new URL("v1/audio/transcriptions", document.baseURI)}`;
  byId("pages").hidden = !card.takes;
  byId("misheard-page").hidden = card.misheard_days === null;
  const days = card.misheard_days;
  byId("privacy").textContent = days === null ? text("privacy") : text("privacyMisheard", { days: number(days) });
  showModel(card);
  showPhrases(card, grammar);
  showHint();
}

/** Repeat a request while the server is busy or loading, as long as it says. */
async function patiently(request, tries) {
  for (let turn = 1; ; turn++) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ServerError) || !error.passing || turn >= tries) throw error;
      const seconds = Math.max(1, error.retryAfter);
      say(error.code === "model_not_ready" ? notReady(error) : text("busyWait", { seconds }));
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }
}

const notReady = ({ message }) => (message.includes("loading the model") ? text("loading") : message);

// --- recording ---

async function begin() {
  if (recording || !microphoneOffered()) return;
  sending?.abort();
  recording = "asking";
  const mine = ++asked;
  byId("problem").hidden = true;
  show("asking", text("asking"));
  let started;
  try {
    started = await Recording.start({
      mostSeconds: Math.min(LONGEST_RECORDING, card?.limits.audio_seconds ?? LONGEST_RECORDING),
      onLevel: showLevel,
      onBlock: preview,
      onEnd: end,
    });
  } catch (error) {
    if (mine !== asked) return;
    recording = null;
    closePreview();
    const keys = { NotFoundError: "noMicrophone", NotAllowedError: "denied" };
    complain(keys[error.name] ?? "inUse", {}, begin);
    return;
  }
  if (mine !== asked) {
    started.stop(); // something else was begun while the browser asked
    return;
  }
  recording = started;
  recording.endsAtPause = !pressed;
  show("recording", text("recording"));
}

/** Show the level of a block in dBFS, and the seconds that were recorded. */
function showLevel(level, seconds) {
  record.style.setProperty("--level", Math.max(0, Math.min(1, (level + 60) / 50)));
  byId("elapsed").textContent = text("seconds", { n: number(Math.floor(seconds)) });
}

/** Show the words in what was recorded so far. */
function preview(block, rate) {
  live ??= new LiveWords(rate, (words) => (byId("live").textContent = words));
  live.send(block);
}

function closePreview() {
  live?.close();
  live = null;
}

/** End the recording and return its samples. */
function stop() {
  const sound = recording.stop();
  recording = null;
  closePreview();
  return sound;
}

function end() {
  if (!(recording instanceof Recording)) return;
  const { seconds, silent } = recording;
  const sound = stop();
  if (seconds < SHORTEST_RECORDING) complain("brief", {}, null);
  else if (silent) complain("silent", {}, begin);
  else hear({ name: text("recordingName", { time: clock(new Date()) }), file: wav(sound), sound });
}

/** End the recording, or the question for the microphone, and forget it. */
function cancel() {
  asked++;
  if (recording instanceof Recording) stop();
  recording = null;
}

function discard() {
  if (!recording) return;
  cancel();
  show("idle", text("discarded"));
}

// --- files ---

async function choose(file) {
  cancel();
  sending?.abort();
  const limit = card?.limits.upload_bytes ?? Infinity;
  if (file.size > limit) {
    complain("tooLarge", { name: file.name, size: megabytes(file.size), limit: megabytes(limit) }, null);
    return;
  }
  byId("problem").hidden = true;
  show("busy", text("recognising"));
  byId("live").textContent = "";
  const mine = (sending = new AbortController());
  const sound = await decode(file);
  if (!mine.signal.aborted) hear({ name: file.name, file, sound });
}

// --- recognising ---

async function hear(entry) {
  sending?.abort();
  const mine = (sending = new AbortController());
  byId("problem").hidden = true;
  show("busy", text("recognising"));
  const upload = entry.file.name ?? "recording.wav";
  try {
    entry.answer = await patiently(() => transcribe(entry.file, upload, mine.signal), TRIES);
  } catch (error) {
    if (mine.signal.aborted) return;
    report(error, () => hear(entry), entry);
    return;
  }
  if (mine.signal.aborted) return;
  entries = [entry, ...entries.filter((other) => other !== entry)].slice(0, MOST_ENTRIES);
  showEntry(entry);
  show("idle", "");
  const { text: heard, confidence } = entry.answer;
  const key = !heard ? nothing() : confidence == null ? "heardText" : "heardSure";
  byId("announcement").textContent = text(key, { text: heard, confidence: confidence == null ? "" : percent(confidence) });
}

const nothing = () => (card && card.grammar !== "FreeText" ? "nothingSet" : "nothing");

function showEntry(entry) {
  current = entry;
  const { text: heard, confidence, words, intent, slots, candidates, warnings, duration: seconds } = entry.answer;
  byId("result").hidden = false;
  byId("result").classList.toggle("rejected", !heard);
  byId("result-title").textContent = `${entry.name} · ${duration(seconds)}`;
  byId("heard").textContent = heard || text(nothing());
  const verdict = byId("verdict");
  verdict.replaceChildren();
  if (!heard) verdict.append(text(`${nothing()}Why`));
  else if (confidence == null) verdict.append(text("freeText"));
  else verdict.append(bar(confidence), text("sure", { confidence: percent(confidence, 1) }));
  byId("warnings").replaceChildren(...warnings.map(({ kind }) => make("li", { textContent: text(`warn${kind}`) })));
  byId("slots").replaceChildren(
    ...(intent ? [part(text("intent"), intent)] : []),
    ...Object.entries(slots ?? {}).map(([name, value]) => part(name, value)),
  );
  showTimeline({ file: entry.file, sound: entry.sound, seconds, words: words ?? [] });
  showCandidates(heard ? candidates.slice(1) : candidates, heard);
  showEntries();
}

const part = (name, value) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }));

function showCandidates(candidates, heard) {
  byId("others").hidden = candidates.length === 0;
  byId("others-title").textContent = text(heard ? "also" : "closest");
  byId("candidates").replaceChildren(
    ...candidates.map(({ text: phrase, confidence, intent }) =>
      make(
        "li",
        {},
        make("span", {}, phrase, ...intentTag(intent)),
        make("span", { className: "soft", textContent: percent(confidence, 1) }),
        bar(confidence),
      ),
    ),
  );
}

function showEntries() {
  byId("earlier").hidden = entries.length < 2;
  byId("entries").replaceChildren(
    ...entries.map((entry) => {
      const { text: heard, confidence } = entry.answer;
      const button = make(
        "button",
        { type: "button", className: heard ? "" : "nothing" },
        make("span", { className: "what", textContent: heard || text(nothing()) }),
        make("span", { className: "soft small", textContent: entry.name }),
        make("span", { className: "soft", textContent: heard && confidence != null ? percent(confidence) : "" }),
      );
      if (entry === current) button.ariaCurrent = "true";
      button.addEventListener("click", () => {
        showEntry(entry);
        byId("entries").children[entries.indexOf(entry)].firstChild.focus();
      });
      return make("li", {}, button);
    }),
  );
}

// --- what goes wrong ---

const PROBLEMS = {
  unreachable: "unreachable",
  audio_empty: "empty",
  audio_too_short: "tooShort",
  audio_too_long: "tooLong",
  audio_unreadable: "unreadable",
  upload_too_large: "tooLarge",
  upload_too_slow: "tooSlow",
  queue_full: "busy",
};

/** Say in plain words why a request failed, and offer to repeat it where that may help. */
function report(error, retry, entry = null) {
  if (!(error instanceof ServerError)) throw error;
  const { status, code, message, passing } = error;
  if (status === 401) {
    askForKey(retry);
    return;
  }
  const { upload_bytes = 0, audio_seconds = 0 } = card?.limits ?? {};
  complain(
    PROBLEMS[code] ?? "other",
    {
      message,
      name: entry?.name,
      size: megabytes(entry?.file.size ?? 0),
      limit: code === "audio_too_long" ? duration(audio_seconds) : megabytes(upload_bytes),
    },
    passing || status === 0 || status === 408 || status >= 500 ? retry : null,
  );
}

function complain(key, values, retry) {
  problem = { key, values, retry };
  show("idle", "");
  byId("problem-text").textContent = text(key, values);
  byId("again").hidden = !retry;
  byId("problem").hidden = false;
}

function askForKey(retry) {
  show("idle", "");
  if (byId("key").value) complain("keyWrong", {}, null);
  byId("key-form").hidden = false;
  byId("key").focus();
  byId("key-form").onsubmit = (event) => {
    event.preventDefault();
    useKey(byId("key").value);
    byId("key-form").hidden = true;
    byId("problem").hidden = true;
    retry();
  };
}

// --- the state of the button, and what is said about it ---

function show(state, words) {
  document.body.dataset.state = state;
  if (state !== "recording" && state !== "busy") byId("live").textContent = "";
  record.style.setProperty("--level", 0);
  byId("record-name").textContent = text(state === "recording" ? "stop" : "speak");
  showHint();
  say(words);
}

function showHint() {
  const offered = microphoneOffered();
  record.disabled = !offered;
  const waiting = matchMedia("(hover: none)").matches ? "hintTouch" : "hint";
  const hint = document.body.dataset.state === "recording" ? "hintRecording" : waiting;
  byId("record-hint").textContent = offered ? text(hint) : text("noMicrophonePage", { origin: location.origin, name: card?.name ?? "NAME" });
}

function say(words) {
  byId("status").textContent = words;
  byId("announcement").textContent = "";
  byId("elapsed").textContent = "";
}

// --- what the user does ---

record.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pressed = event.timeStamp;
  record.dataset.began = String(!recording);
  if (!recording) begin();
});
window.addEventListener("pointerup", (event) => {
  const held = pressed && event.timeStamp - pressed > HOLD && record.dataset.began === "true";
  release(held);
});
window.addEventListener("pointercancel", () => release(false));
record.addEventListener("click", (event) => {
  // a press that began the recording has been handled; Enter and screen readers give a click alone
  const began = record.dataset.began === "true" && event.detail > 0;
  delete record.dataset.began;
  if (began) return;
  if (recording) end();
  else begin();
});

function release(held) {
  pressed = 0;
  if (recording instanceof Recording) {
    recording.endsAtPause = true;
    if (held) end();
  }
}

const takesSpace = (element) => element !== record && element.closest("input, select, textarea, button, a, summary, [contenteditable]");

window.addEventListener("keydown", (event) => {
  if (event.key === "Escape") discard();
  if (event.key !== " " || event.ctrlKey || event.altKey || event.metaKey || takesSpace(event.target)) return;
  event.preventDefault();
  if (event.repeat) return;
  pressed = event.timeStamp;
  if (recording) end();
  else begin();
});
window.addEventListener("keyup", (event) => {
  if (event.key !== " " || takesSpace(event.target)) return;
  event.preventDefault();
  release(pressed && event.timeStamp - pressed > HOLD);
});

byId("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) choose(target.files[0]);
  target.value = "";
});
byId("again").addEventListener("click", () => problem.retry());

let inside = 0; // dragenter and dragleave come for every element on the way
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
window.addEventListener("dragenter", (event) => carriesFiles(event) && (byId("drop").hidden = !++inside));
window.addEventListener("dragleave", (event) => carriesFiles(event) && (byId("drop").hidden = !--inside));
window.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
window.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  inside = 0;
  byId("drop").hidden = true;
  choose(event.dataTransfer.files[0]);
});

function showAll() {
  show(document.body.dataset.state ?? "idle", "");
  if (card && grammar) showServer();
  if (current) showEntry(current);
  if (problem && !byId("problem").hidden) byId("problem-text").textContent = text(problem.key, problem.values);
}

offerLanguages(byId("language"), showAll);
load();
