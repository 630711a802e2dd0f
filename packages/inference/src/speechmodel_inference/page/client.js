// Requests to the server, and its errors.

import { keep, recall } from "./memory.js";

const KEY = "key";
const KEY_PROTOCOL = "openai-insecure-api-key."; // browsers send no headers with a WebSocket
let key = recall("sessionStorage", KEY);

/** An answer that is an error, or no answer (status 0). `retryAfter` is in seconds, 0 if the server gives none. */
export class ServerError extends Error {
  constructor(status, code = "", message = "", retryAfter = 0) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }

  /** True if the same request may succeed later. */
  get passing() {
    return this.status === 429 || this.status === 503;
  }
}

/** Send this API key from now on. */
export function useKey(value) {
  key = value;
  keep("sessionStorage", KEY, value);
}

/** Open a WebSocket. Returns null for a key with characters that its handshake cannot carry. */
export function openSocket(path, protocol) {
  const address = new URL(path, document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  try {
    return new WebSocket(address, key ? [protocol, KEY_PROTOCOL + key] : [protocol]);
  } catch {
    return null;
  }
}

export const fetchCard = () => request("v1/speechmodel");

export const fetchPhrases = () => request("v1/speechmodel/phrases");

/** Return the phrases of the grammar that have these letters, also beyond those of fetchPhrases(). */
export const searchPhrases = (letters, signal) =>
  request(`v1/speechmodel/phrases/search?${new URLSearchParams({ letters })}`, { signal });

/** Return the answer to a recording, a Blob, in the format verbose_json. */
export function transcribe(recording, name, signal) {
  const body = new FormData();
  body.append("file", recording, name);
  body.append("response_format", "verbose_json");
  body.append("alternatives", "4");
  return request("v1/audio/transcriptions", { method: "POST", body, signal });
}

/** Return the numbers of takes by sentence: those of `speaker`, and of everybody. */
export const countTakes = (speaker) => request(`v1/takes?${new URLSearchParams({ speaker })}`);

/** Keep a recording of a sentence, a Blob, for the dataset. The speaker has agreed to it. */
export function saveTake(recording, sentence, speaker) {
  const body = new FormData();
  body.append("text", sentence);
  body.append("speaker", speaker);
  body.append("consent", "true");
  body.append("file", recording, "take.wav");
  return request("v1/takes", { method: "POST", body });
}

export const deleteTake = (speaker, id) => request(`v1/takes/${encodeURIComponent(speaker)}/${id}`, { method: "DELETE" });

export const forgetSpeaker = (speaker) => request(`v1/takes/${encodeURIComponent(speaker)}`, { method: "DELETE" });

/** Return the clips that the server rejected or was not sure of, the newest first. */
export const listClips = () => request("v1/misheard");

/** Return a clip as a Blob. */
export const fetchClip = (id) => request(`v1/misheard/${id}/audio`, {}, (response) => response.blob());

/** Turn a clip into a take. The speaker has agreed to it. */
export function confirmClip(id, sentence, speaker) {
  const body = JSON.stringify({ text: sentence, speaker, consent: true });
  return request(`v1/misheard/${id}/take`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
}

export const dropClip = (id) => request(`v1/misheard/${id}`, { method: "DELETE" });

export const dropClips = () => request("v1/misheard", { method: "DELETE" });

/** Return the state of the training, and the number of new takes. */
export const fetchRetraining = () => request("v1/retrain");

/** Start a training with the takes, and return its state. */
export const startRetraining = () => request("v1/retrain", { method: "POST" });

/** Read an answer. One that ends early, or is that of a proxy, is an error like others. */
async function whole(response, read) {
  try {
    return await read(response);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error instanceof SyntaxError) throw new ServerError(response.status, "", "The answer is not JSON. A proxy may have sent it.");
    throw new ServerError(0, "unreachable");
  }
}

async function request(path, options = {}, read = (response) => response.json()) {
  let response;
  try {
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "unreachable");
  }
  if (response.status === 204) return null;
  if (response.ok) return whole(response, read);
  const { error = {} } = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw new ServerError(response.status, error.code ?? "", error.message ?? response.statusText, retryAfter);
}
