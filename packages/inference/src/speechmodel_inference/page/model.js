// What the model is: its figures, its data and its training.

import { byId, drawing, make } from "./elements.js";
import { duration, languageName, number, percent, text } from "./texts.js";

const LEAST_SCALE = 0.2; // word error rate at the end of a scale, unless a rate is above it
const CHART = { width: 320, height: 110 };

/** Show the card of GET /v1/speechmodel. */
export function showModel(card) {
  const facts = make("dl", { className: "facts" });
  const fact = (name, ...value) => facts.append(make("div", {}, make("dt", { textContent: text(name) }), make("dd", {}, ...value)));
  const { measured, dataset, training } = card;

  if (measured?.answers) {
    const { right, wrong, rejected, foreign, accepted } = measured.answers;
    fact("rejectedPhrases", text("ofClips", { part: number(rejected), whole: number(right + wrong + rejected) }));
    if (foreign) fact("falseAccepts", text("ofClips", { part: number(accepted), whole: number(foreign) }));
  }
  if (dataset) {
    const clips = dataset.train_clips + dataset.dev_clips + dataset.test_clips;
    fact("data", text("dataText", { clips: number(clips), time: duration(dataset.audio_seconds) }));
    if (dataset.speakers) fact("speakers", number(dataset.speakers));
    if (dataset.synthesized) fact("synthesized", number(dataset.synthesized));
    if (dataset.negatives) fact("negatives", number(dataset.negatives));
  }
  if (training) {
    fact("trainingEpochs", text("epochsText", { epochs: number(training.epochs), exported: number(training.exported_epoch) }));
    if (training.settings) fact("network", text("networkText", { units: number(training.settings.hidden_units) }));
  }
  fact("modelLanguage", languageName(card.language));
  if (card.engine) fact("engine", card.engine); // an older server does not name it
  fact("version", make("code", { textContent: card.version }));
  if (dataset) fact("digest", make("code", { textContent: dataset.digest.slice(0, 12), title: dataset.digest }));

  const parts = [rates(card), facts];
  if (!measured) parts.push(make("p", { className: "soft small", textContent: text("noCard") }));
  if (training?.losses.length > 1) parts.push(chart(training.losses));
  byId("model").replaceChildren(...parts);
}

/** Return the word error rates, each with its interval on one scale. */
function rates({ wer, measured }) {
  const { unseen_speakers: unseen = null, seen_speakers: seen = null } = measured ?? {};
  const rows = [["unseen", unseen], ["seen", seen]].filter(([, rate]) => rate);
  if (rows.length === 0 && wer !== null) rows.push(["all", { rate: wer }]);
  const whole = make("div", { className: "rates" }, make("h3", { textContent: text("wrongWords") }));
  if (rows.length === 0) whole.append(make("p", { className: "soft small", textContent: text("notMeasured") }));
  const scale = Math.max(LEAST_SCALE, ...rows.map(([, rate]) => rate.high ?? rate.rate));
  for (const [voices, { rate, low, high, clips }] of rows) {
    const value = make("strong", { textContent: percent(rate, 1) });
    const row = make("div", { className: "rate" }, make("span", { textContent: text(voices) }), value, interval(rate, low, high, scale));
    if (clips) {
      const span = { low: percent(low, 1), high: percent(high, 1), clips: number(clips) };
      row.append(make("span", { className: "soft small", textContent: text("between", span), ariaHidden: "true" }));
      value.append(make("span", { className: "hidden", textContent: `: ${text("interval", { rate: percent(rate, 1), ...span })}` }));
    }
    whole.append(row);
  }
  if (rows.some(([, rate]) => rate.speakers_guessed)) whole.append(make("p", { className: "soft small", textContent: text("guessed") }));
  return whole;
}

function interval(rate, low, high, scale) {
  const place = (value) => `${(100 * value) / scale}%`;
  const range = make("i", { className: "range" });
  range.style.left = place(low ?? rate);
  range.style.width = place((high ?? rate) - (low ?? rate));
  const point = make("i", { className: "point" });
  point.style.left = place(rate);
  return make("span", { className: "interval", ariaHidden: "true" }, range, point);
}

/** Return the losses by epoch as lines. */
function chart(losses) {
  const most = Math.max(...losses.flatMap(({ loss, dev_loss }) => [loss, dev_loss ?? 0]));
  const lines = [["loss", losses.map(({ loss }) => loss)]];
  if (losses.every(({ dev_loss }) => dev_loss !== null)) lines.push(["devLoss", losses.map(({ dev_loss }) => dev_loss)]);
  const said = lines.map(([name, values]) =>
    text(`${name}Text`, { epochs: number(losses.length), first: number(values[0], 1), last: number(values.at(-1), 1) }),
  );
  const picture = drawing(
    "svg",
    { class: "chart", viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": said.join(" ") },
    drawing("path", { class: "axis", d: `M0 ${CHART.height - 0.5}h${CHART.width}` }),
    ...lines.map(([name, values]) => drawing("polyline", { class: name, points: points(values, most) })),
  );
  const key = lines.map(([name]) => make("span", { className: name, textContent: text(name) }));
  return make("div", { className: "losses" }, make("h3", { textContent: text("lossTitle") }), picture, make("p", { className: "key", ariaHidden: "true" }, ...key));
}

function points(values, most) {
  const x = (i) => ((CHART.width * i) / (values.length - 1)).toFixed(1);
  const y = (value) => (CHART.height - 4 - ((CHART.height - 8) * value) / most).toFixed(1);
  return values.map((value, i) => `${x(i)},${y(value)}`).join(" ");
}
