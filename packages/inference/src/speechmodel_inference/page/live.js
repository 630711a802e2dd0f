// The words that the server hears while somebody speaks, by OpenAI's realtime protocol. They are a preview: the answer
// comes from the upload of the whole recording, also where no WebSocket can be opened.

import { openSocket } from "./client.js";

const LONGEST_PAUSE = 5000; // milliseconds, as much as the server allows: the page ends the recording at a pause
const MESSAGE_SECONDS = 0.1;
const MOST_UNSENT = 1 << 18; // bytes. On a line that is slower than speech the preview ends, so that it delays no upload.
const WORDS = "conversation.item.input_audio_transcription.delta";

/** The preview of a recording. */
export class LiveWords {
  #utterances = new Map(); // words by utterance, in the order of speech
  #blocks = []; // samples that are not sent yet
  #rate;
  #socket;

  /** Begin a stream of samples at a rate in Hz. `onWords` receives all words so far. */
  constructor(rate, onWords) {
    this.#rate = rate;
    this.#socket = openSocket("v1/realtime?intent=transcription&preview=true", "realtime");
    this.#socket?.addEventListener("open", () => {
      const input = { format: { type: "audio/pcm", rate }, turn_detection: { type: "server_vad", silence_duration_ms: LONGEST_PAUSE } };
      this.#tell("session.update", { session: { type: "transcription", audio: { input } } });
    });
    this.#socket?.addEventListener("message", ({ data }) => {
      const { type, item_id: id, delta } = JSON.parse(data);
      if (type !== WORDS) return;
      this.#utterances.set(id, (this.#utterances.get(id) ?? "") + delta);
      onWords([...this.#utterances.values()].join(" "));
    });
  }

  /** Send a block of samples, from -1 to 1. Nothing happens once the socket is closed. */
  send(block) {
    if (!this.#socket || this.#socket.readyState > WebSocket.OPEN) return;
    this.#blocks.push(block);
    const count = this.#blocks.reduce((sum, each) => sum + each.length, 0);
    if (this.#socket.readyState === WebSocket.CONNECTING || count < MESSAGE_SECONDS * this.#rate) return;
    if (this.#socket.bufferedAmount > MOST_UNSENT) this.close();
    else this.#tell("input_audio_buffer.append", { audio: base64(this.#blocks.splice(0)) });
  }

  /** End the preview. No more words come. */
  close() {
    this.#socket?.close();
  }

  #tell(type, fields) {
    this.#socket.send(JSON.stringify({ type, ...fields }));
  }
}

/** Return samples of 16 bits in base64. */
function base64(blocks) {
  const samples = blocks.flatMap((block) => Array.from(block, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767)));
  return btoa(Array.from(new Uint8Array(Int16Array.from(samples).buffer), (byte) => String.fromCharCode(byte)).join(""));
}
