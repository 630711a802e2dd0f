"""Transcribe clips by deepspeech-tflite or stt: `hear_tflite.py deepspeech|stt MODEL CLIP...`. It runs under Python 3.9."""

import importlib
import json
import sys
import wave

import numpy as np


def main() -> None:
    """Print a list with the text, the timesteps and the confidence of each clip."""
    module, path, *clips = sys.argv[1:]
    model = importlib.import_module(module).Model(path)
    heard = []
    for clip in clips:
        with wave.open(clip) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        best = model.sttWithMetadata(pcm, 1).transcripts[0]
        text = "".join(token.text for token in best.tokens)
        timesteps = [token.timestep for token in best.tokens]
        heard.append({"text": text, "timesteps": timesteps, "confidence": best.confidence})
    print(json.dumps(heard))


main()
