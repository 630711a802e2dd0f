"""The DeepSpeech 0.9.3 runtime and the audio that it takes. Serving and evaluation use the same
code.

Shortest use:

    from speechmodel_runtime import Model, load

    with Model("output_graph.pbmm", beam_width=500) as model:
        print(model.transcribe(load("clip.wav")).text)
"""

from speechmodel_runtime.audio import AudioInfo, DecodedAudio, Pcm, PcmReader, decode, load, read_pcm, save, seconds
from speechmodel_runtime.audio_warnings import AudioWarning, WarningKind
from speechmodel_runtime.graph import GraphInfo, read_graph
from speechmodel_runtime.level import Speech, level, loudness, speech, without_floor
from speechmodel_runtime.model import Model, Stream
from speechmodel_runtime.scorer import Scorer, ScorerWords
from speechmodel_runtime.transcript import Token, Transcript

__all__ = [
    "AudioInfo",
    "AudioWarning",
    "DecodedAudio",
    "GraphInfo",
    "Model",
    "Pcm",
    "PcmReader",
    "Scorer",
    "ScorerWords",
    "Speech",
    "Stream",
    "Token",
    "Transcript",
    "WarningKind",
    "decode",
    "level",
    "load",
    "loudness",
    "read_graph",
    "read_pcm",
    "save",
    "seconds",
    "speech",
    "without_floor",
]
