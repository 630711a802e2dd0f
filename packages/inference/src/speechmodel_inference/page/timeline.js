// A recording as a waveform, its words below it at their times, and its playback.

import { bar, byId, drawing, make, sureness } from "./elements.js";
import { number, percent, text } from "./texts.js";

const BAR_PIXELS = 3;
const PIXELS_PER_SECOND = 120; // at least; a longer recording scrolls
const MOST_PIXELS = 30000;
const GAP_PIXELS = 6;
const LANE_PIXELS = 46;

const container = byId("timeline");
const button = byId("play");
const audio = new Audio();
let shown = null; // { samples, seconds, track, wave, list }
let head = null;

/** Show a recording: its file, its samples (null when the browser cannot read it) and its words. */
export function showTimeline({ file, sound, seconds, words }) {
  audio.pause();
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(file);
  button.hidden = !sound;
  head = make("div", { className: "head", hidden: true });
  const wave = drawing("svg", { class: "wave", "aria-hidden": "true", preserveAspectRatio: "none" });
  const list = make("ol", { className: "words", ariaLabel: text("words") }, ...words.map(word));
  const spans = words.map(({ start, end, confidence }) => {
    const span = make("div", { className: `span ${confidence == null ? "" : sureness(confidence)}` });
    span.style.left = `${(100 * start) / seconds}%`;
    span.style.width = `${(100 * (end - start)) / seconds}%`;
    return span;
  });
  const track = make("div", { className: "track" }, make("div", { className: "sound", hidden: !sound }, ...spans, wave, head), list);
  track.style.width = `max(100%, ${Math.min(MOST_PIXELS, seconds * PIXELS_PER_SECOND)}px)`;
  container.replaceChildren(track);
  shown = { sound, seconds, track, wave, list, words };
  layOut();
}

function word({ word, start, confidence }) {
  const name = confidence == null ? "wordAtPlain" : "wordAt";
  const values = { word, seconds: number(start, 1), confidence: confidence == null ? "" : percent(confidence) };
  const label = make("button", { type: "button", ariaLabel: text(name, values) }, make("span", { className: "word", textContent: word }));
  if (confidence != null) label.append(make("span", { className: "sureness", textContent: percent(confidence) }), bar(confidence));
  label.addEventListener("click", () => play(start));
  return make("li", {}, label);
}

/** Draw the waveform for the width of the track, and put words that would overlap below each other. */
function layOut() {
  if (!shown) return;
  const { sound, seconds, track, wave, list, words } = shown;
  const width = track.clientWidth;
  if (sound) drawWave(wave, sound.samples, Math.max(20, Math.floor(width / BAR_PIXELS)));
  const lanes = [];
  [...list.children].forEach((item, i) => {
    const left = Math.min((words[i].start / seconds) * width, width - item.offsetWidth);
    let lane = lanes.findIndex((end) => end + GAP_PIXELS <= left);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = left + item.offsetWidth;
    item.style.left = `${left}px`;
    item.style.top = `${lane * LANE_PIXELS}px`;
  });
  list.style.height = `${lanes.length * LANE_PIXELS}px`;
}

function drawWave(wave, samples, bars) {
  const peaks = new Float32Array(bars);
  samples.forEach((sample, i) => {
    const place = Math.floor((i * bars) / samples.length);
    peaks[place] = Math.max(peaks[place], Math.abs(sample));
  });
  const loudest = peaks.reduce((most, peak) => Math.max(most, peak), 0.001);
  const lines = [...peaks].map((peak, i) => {
    const height = Math.max(1, (96 * peak) / loudest);
    return `M${i + 0.5} ${50 - height / 2}v${height}`;
  });
  wave.setAttribute("viewBox", `0 0 ${bars} 100`);
  wave.replaceChildren(drawing("path", { d: lines.join("") }));
}

function play(from) {
  audio.currentTime = from;
  audio.play().catch(() => (button.hidden = true)); // a format that can be read but not played
}

function followPlayback() {
  if (!head) return;
  head.hidden = audio.paused && (audio.currentTime === 0 || audio.ended);
  head.style.left = `${(100 * audio.currentTime) / shown.seconds}%`;
  if (!audio.paused) requestAnimationFrame(followPlayback);
}

button.addEventListener("click", () => (audio.paused ? play(audio.ended ? 0 : audio.currentTime) : audio.pause()));
for (const event of ["play", "pause", "seeked", "ended"]) {
  audio.addEventListener(event, () => {
    button.ariaPressed = String(!audio.paused);
    followPlayback();
  });
}
container.addEventListener("click", (event) => {
  const sound = event.target.closest(".sound");
  if (sound) play((shown.seconds * (event.clientX - sound.getBoundingClientRect().left)) / sound.clientWidth);
});
new ResizeObserver(layOut).observe(container);
