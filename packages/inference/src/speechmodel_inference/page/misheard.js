// What the server rejected or was not sure of: play it, and say what it was or delete it.

import {
  ServerError, confirmClip, dropClip, dropClips, fetchCard, fetchClip, fetchPhrases, listClips,
} from "./client.js";
import { byId, drawing, make } from "./elements.js";
import { keep, recall } from "./memory.js";
import { lookAtRetraining, offerRetraining, showRetraining } from "./retrain.js";
import { moment, number, percent, offerLanguages, text, withNewLetters } from "./texts.js";

const CONSENT = "consentOf"; // for this visit only: each speaker has to be asked
const SPEAKER = "speakerOf";
const MOST_OFFERED = 3; // candidates beside the text

let name = "";
let inbox = { keep_days: 0, count: 0, clips: [] };
let said = null; // [key, values] of the status
let problem = null;
let busy = false;
const player = new Audio();
let playing = null; // the button of the clip that is played

async function load() {
  try {
    const card = await fetchCard();
    name = card.name;
    offerRetraining(card);
    inbox = await listClips();
    const { phrases } = await fetchPhrases();
    byId("phrases").replaceChildren(...phrases.map((phrase) => make("option", { value: phrase })));
  } catch (error) {
    report(error);
  }
  showAll();
}

// --- playing ---

async function play(clip, button) {
  const same = playing === button;
  halt();
  if (same) return;
  playing = button;
  button.ariaPressed = "true";
  try {
    const sound = await fetchClip(clip.id);
    if (playing !== button) return;
    player.src = URL.createObjectURL(sound);
    await player.play();
  } catch (error) {
    if (playing !== button) return;
    halt();
    if (error instanceof ServerError) report(error);
    else complain("unplayable");
  }
}

function halt() {
  player.pause();
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  if (playing) playing.ariaPressed = "false";
  playing = null;
}

player.addEventListener("ended", halt);

// --- deciding ---

/** Do something with a clip, and show the others. The next one gets the focus. */
async function decide(clip, work, key, values = {}) {
  if (busy) return;
  busy = true;
  byId("problem").hidden = true;
  const place = inbox.clips.indexOf(clip);
  try {
    const letters = (await work())?.new_letters?.join(" "); // an older server names none
    said = [key, { ...values, letters }];
    lookAtRetraining();
  } catch (error) {
    busy = false;
    if (error.code !== "clip_not_found") {
      report(error);
      return;
    }
    said = ["clipGone", {}]; // another user handled it first, or it has expired
  }
  busy = false;
  halt();
  byId(`clip-${clip.id}`).remove(); // what was typed for the others stays
  inbox = { ...inbox, count: inbox.count - 1, clips: inbox.clips.filter((each) => each !== clip) };
  const next = inbox.clips[Math.min(place, inbox.clips.length - 1)];
  (next ? byId(`clip-${next.id}`).querySelector(".play") : byId("status")).focus();
  if (!next && inbox.count) await load();
  showState();
}

function save(clip, words) {
  if (!words || !ready()) return;
  const speaker = who();
  decide(clip, () => confirmClip(clip.id, words, speaker), "clipSaved", { text: words, speaker });
}

async function dropAll() {
  if (busy || !confirm(text("dropSure", { count: number(inbox.count) }))) return;
  busy = true;
  try {
    const { deleted } = await dropClips();
    halt();
    said = ["dropped", { count: number(deleted) }];
    inbox = await listClips();
  } catch (error) {
    report(error);
  } finally {
    busy = false;
  }
  showAll();
}

// --- what is shown ---

const who = () => byId("speaker").value.trim();
const ready = () => who() && byId("consent").checked;

function showAll() {
  halt();
  byId("clips").replaceChildren(...inbox.clips.map(item));
  showState();
}

function showState() {
  document.title = name || "SpeechModel";
  byId("name").textContent = name || "SpeechModel";
  const count = text(inbox.count ? "clipsCount" : "clipsNone", { count: number(inbox.count) });
  byId("status").textContent = said ? `${withNewLetters(...said)} ${count}` : count;
  byId("kept").textContent = inbox.keep_days ? text("keptDays", { days: number(inbox.keep_days) }) : "";
  byId("who-hint").textContent = ready() ? "" : text("whoFirstClips");
  byId("drop-all").disabled = !inbox.count;
  showRetraining();
  for (const button of document.querySelectorAll(".clips [type=submit]")) button.disabled = !ready();
  if (problem && !byId("problem").hidden) byId("problem-text").textContent = text(...problem);
}

const PLAY_SIGNS = [["go", "M8 5.5v13l11-6.5z"], ["halt", "M8 6h3v12H8zM13 6h3v12h-3z"]];

function item(clip) {
  const { id, heard, confidence, candidates, seconds } = clip;
  const time = moment(new Date(clip.recorded_at));
  const signs = PLAY_SIGNS.map(([sign, d]) => drawing("path", { class: sign, d }));
  const button = make(
    "button",
    { type: "button", className: "play", ariaPressed: "false" },
    drawing("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, ...signs),
    make("span", { className: "hidden", textContent: text("playClip", { time }) }),
  );
  button.addEventListener("click", () => play(clip, button));
  const verdict = heard ? text("clipHeard", { text: heard, confidence: percent(confidence) }) : text("clipRejected");
  const input = make("input", { id: `said-${id}`, value: heard, autocomplete: "off", maxLength: 1000, required: true });
  input.setAttribute("list", "phrases");
  const others = candidates.filter((each) => each !== heard).slice(0, MOST_OFFERED);
  const offered = others.map((phrase) => {
    const choice = make("button", { type: "button", className: "choice", textContent: phrase });
    choice.addEventListener("click", () => {
      input.value = phrase;
      input.focus();
    });
    return choice;
  });
  const drop = make("button", { type: "button", textContent: text("dropClip") });
  drop.addEventListener("click", () => decide(clip, () => dropClip(id), "clipDropped"));
  const form = make(
    "form",
    {},
    make("label", { htmlFor: input.id, textContent: text("whatSaid") }),
    make("div", { className: "choices", hidden: !offered.length, role: "group", ariaLabel: text("closest") }, ...offered),
    make("div", { className: "row" }, input, make("button", { type: "submit", textContent: text("saveClip") }), drop),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(clip, input.value.trim());
  });
  const about = make(
    "p",
    {},
    make("span", { className: "what", textContent: verdict }),
    make("span", { className: "soft small", textContent: `${time} · ${text("seconds", { n: number(seconds, 1) })}` }),
  );
  return make("li", { id: `clip-${id}` }, button, about, form);
}

/** Say in plain words why a request failed. */
function report(error) {
  if (!(error instanceof ServerError)) throw error;
  const { status, code, message } = error;
  if (status === 401) complain("keyFirst");
  else if (status === 404 && !code) complain("noMisheard");
  else if (status === 0) complain("unreachable");
  else complain(code === "cross_site" ? code : "other", { message });
}

function complain(key, values = {}) {
  problem = [key, values];
  byId("problem").hidden = false;
  showState();
}

byId("drop-all").addEventListener("click", dropAll);
byId("speaker").addEventListener("input", () => {
  keep("sessionStorage", SPEAKER, who());
  byId("consent").checked = false; // it was given by another person
  keep("sessionStorage", CONSENT, "");
  showState();
});
byId("consent").addEventListener("change", () => {
  keep("sessionStorage", CONSENT, byId("consent").checked ? "true" : "");
  showState();
});

byId("speaker").value = recall("sessionStorage", SPEAKER);
byId("consent").checked = recall("sessionStorage", CONSENT) === "true";
offerLanguages(byId("language"), showAll);
load();
