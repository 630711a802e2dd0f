// Training a new version with the takes: the button, and the progress until the version is served.

import { ServerError, fetchCard, fetchRetraining, startRetraining } from "./client.js";
import { bar, byId } from "./elements.js";
import { moment, number, text } from "./texts.js";

const SOON = 5000; // milliseconds until the second look at a phase
const LATEST = 60000; // milliseconds between two looks at most: each makes the server count takes and ask the cluster
const RESTING = ["Ready", "Failed", "Suspended"]; // phases in which nothing is made
const NAMED = [
  "Pending", "Preparing", "Downloading", "Training", "Converting", "Evaluating", "Publishing", "Comparing", "Deploying", "Failed",
];
const PROBLEMS = ["already_training", "changed", "retrain_forbidden", "cluster_unreachable", "cross_site"];

let offered = false;
let version = ""; // that is served
let found = null; // the last answer of the server
let problem = null; // [key, values], instead of the state
let ended = null; // [key, values]: how a training ended that was seen here
let looking = null; // promise of the request for the state that is running
let starting = false; // the button was pressed, and the server has not answered
let overtaken = false; // something happened while the server was asked
let timer = 0;
let pause = SOON; // until the next look, doubled while the phase stays

/** Show the button if the server offers it. `card` is that of the served version. */
export function offerRetraining(card) {
  offered = card.retrain;
  version = card.version;
  byId("retrain").hidden = !offered;
  lookAtRetraining();
}

/** Ask the server for the state, and again and again while a version is made. */
export async function lookAtRetraining() {
  if (!offered) return;
  if (looking || starting) {
    overtaken = true;
    return;
  }
  looking = ask(fetchRetraining).finally(() => (looking = null));
  await looking;
}

async function start() {
  if (starting || !confirm(`${newTakes()} ${text("retrainSure")}`)) return;
  starting = true;
  showRetraining();
  try {
    await looking;
    await ask(startRetraining);
  } finally {
    starting = false;
    showRetraining();
  }
  byId("retrain-state").focus();
}

async function ask(request) {
  clearTimeout(timer);
  const before = found;
  let again = true;
  try {
    found = await request();
    problem = null;
    again = !RESTING.includes(found.phase);
    if (again) ended = null;
    else if (found.phase === "Ready" && before && !RESTING.includes(before.phase)) ended = await ending();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    const { status, code, message } = error;
    problem = [status === 0 ? "unreachable" : PROBLEMS.includes(code) ? code : "other", { message }];
    // as while the server is replaced by one with the new version; a permission that is missing does not come by itself
    again = (status === 0 || status >= 500) && code !== "retrain_forbidden";
  }
  pause = problem || found.phase !== before?.phase ? SOON : Math.min(2 * pause, LATEST);
  if (overtaken) timer = setTimeout(lookAtRetraining);
  else if (again) timer = setTimeout(lookAtRetraining, pause);
  overtaken = false;
  showRetraining();
}

async function ending() {
  const before = version;
  version = (await fetchCard()).version;
  return [version === before ? "retrainSame" : "retrainDone", { version }];
}

/** Show the state in the language of the page. */
export function showRetraining() {
  if (!offered) return;
  const { prepared_at: time, phase = "", progress, message, refusal } = found ?? {};
  byId("retrain-takes").textContent = found ? newTakes() : "";
  byId("retrain-since").textContent = time ? text("retrainSince", { time: moment(new Date(time)) }) : "";
  write("retrain-state", problem ? text(...problem) : state(phase, refusal));
  write("retrain-message", problem ? "" : (message ?? ""));
  const [done, all] = (progress ?? "").split("/").map(Number);
  byId("retrain-progress").hidden = !all || Boolean(problem);
  if (all) {
    byId("retrain-bar").replaceChildren(bar(done / all));
    byId("retrain-epochs").textContent = text("retrainEpochs", { done: number(done), all: number(all) });
  }
  byId("retrain-start").disabled = starting || !found || Boolean(refusal);
}

const newTakes = () => text(found.prepared_at ? "retrainNew" : "retrainAll", { count: number(found.takes) });

function state(phase, refusal) {
  if (refusal?.code === "suspended") return text("suspended");
  if (NAMED.includes(phase)) return text(`phase${phase}`);
  if (refusal?.code === "revision_owned") return text("revision_owned", { owner: refusal.param });
  return ended ? text(...ended) : "";
}

/** Write a text only if it is another one, so that a screen reader says it once. */
function write(id, words) {
  if (byId(id).textContent !== words) byId(id).textContent = words;
}

// the same on /record and /misheard
byId("retrain").innerHTML = `
  <h2 id="retrain-title" class="label" data-text="retrainTitle"></h2>
  <p id="retrain-takes" class="what"></p>
  <p id="retrain-since" class="soft small"></p>
  <button id="retrain-start" type="button" class="quiet primary" data-text="retrainStart" disabled></button>
  <p id="retrain-state" role="status" tabindex="-1"></p>
  <div id="retrain-progress" hidden>
    <div id="retrain-bar"></div>
    <p id="retrain-epochs" class="soft small"></p>
  </div>
  <p id="retrain-message" class="soft small" lang="en"></p>
`;
byId("retrain-start").addEventListener("click", start);
