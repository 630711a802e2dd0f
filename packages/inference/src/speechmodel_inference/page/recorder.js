// Recording from the microphone.

/** True if the browser gives a microphone to this page. */
export const microphoneOffered = () => Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia);

const SILENCE = -70; // dBFS: no microphone that works is quieter
const RISE = 3; // dB a second by which the estimate of the noise may rise
const ABOVE_NOISE = 12; // dB by which speech is louder than the noise
const QUIETEST_SPEECH = -50; // dBFS
const SPEECH_SECONDS = 0.2;
const PAUSE_SECONDS = 1.2;
const KEPT_PAUSE_SECONDS = 0.4; // of the pause that ended a recording

/** Notices the end of speech: a pause after it. Levels are in dBFS. */
class EndOfSpeech {
  noise = 0;
  spoken = 0;
  paused = 0;

  /** Return true once the level of a block of `seconds` ends the speech. */
  heard(level, seconds) {
    this.noise = Math.min(level, this.noise + RISE * seconds);
    const speech = level > Math.max(this.noise + ABOVE_NOISE, QUIETEST_SPEECH);
    this.spoken += speech ? seconds : 0;
    this.paused = speech ? 0 : this.paused + seconds;
    return this.spoken >= SPEECH_SECONDS && this.paused >= PAUSE_SECONDS;
  }
}

/** A recording that runs. */
export class Recording {
  #blocks = [];
  #seconds = 0;
  #loudest = -Infinity;
  #end = new EndOfSpeech();

  /**
   * Ask for the microphone and record. `onLevel` receives the level of each block in dBFS, and the
   * seconds that were recorded. `onBlock` receives its samples, from -1 to 1, and their rate in Hz.
   * `onEnd` is called when the speaker pauses, after `mostSeconds`, and when the microphone is taken
   * away.
   * Rejects with the DOMException of getUserMedia.
   */
  static async start({ mostSeconds, onLevel, onEnd, onBlock = () => {} }) {
    const recording = new Recording();
    // as it is: the server brings speech to its level, and browsers' filters change voices
    recording.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    try {
      recording.context = new AudioContext({ latencyHint: "playback" }); // large buffers lose nothing on a slow machine
      await recording.context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
      recording.capture = new AudioWorkletNode(recording.context, "capture", { numberOfOutputs: 0 });
      recording.capture.port.onmessage = ({ data }) => recording.#take(data, { mostSeconds, onLevel, onEnd, onBlock });
      recording.context.createMediaStreamSource(recording.stream).connect(recording.capture);
      recording.stream.getTracks()[0].onended = onEnd;
      await recording.context.resume();
    } catch (error) {
      recording.stop();
      throw error;
    }
    return recording;
  }

  #kept = Infinity; // seconds that are returned

  /** False while a button or key is held: then its release ends the recording, not a pause. */
  endsAtPause = true;

  get seconds() {
    return this.#seconds;
  }

  get silent() {
    return this.#loudest < SILENCE;
  }

  /** End it and return its samples, from -1 to 1, and their rate in Hz. */
  stop() {
    for (const track of this.stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    if (this.capture) this.capture.port.onmessage = null; // blocks that are on their way
    const rate = this.context?.sampleRate;
    this.context?.close();
    const samples = new Float32Array(this.#blocks.reduce((sum, block) => sum + block.length, 0));
    this.#blocks.reduce((place, block) => (samples.set(block, place), place + block.length), 0);
    return { samples: samples.subarray(0, this.#kept * rate), rate };
  }

  #take(block, { mostSeconds, onLevel, onEnd, onBlock }) {
    const seconds = block.length / this.context.sampleRate;
    const level = 10 * Math.log10(block.reduce((sum, sample) => sum + sample * sample, 0) / block.length + 1e-12);
    this.#blocks.push(block);
    this.#seconds += seconds;
    this.#loudest = Math.max(this.#loudest, level);
    onLevel(level, this.#seconds);
    onBlock(block, this.context.sampleRate);
    const paused = this.#end.heard(level, seconds) && this.endsAtPause;
    if (paused) this.#kept = this.#seconds - PAUSE_SECONDS + KEPT_PAUSE_SECONDS;
    if (paused || this.#seconds >= mostSeconds) onEnd();
  }
}

/** Return samples as a WAV file of 16 bits and one channel. */
export function wav({ samples, rate }) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const ascii = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  ascii(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return new Blob([view], { type: "audio/wav" });
}

/** Return the samples of an audio file, or null when the browser cannot read it. */
export async function decode(file) {
  const context = new OfflineAudioContext(1, 1, 16000); // needs no permission to play
  try {
    const audio = await context.decodeAudioData(await file.arrayBuffer());
    return { samples: audio.getChannelData(0), rate: audio.sampleRate };
  } catch {
    return null;
  }
}
