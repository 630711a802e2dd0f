"""A pre-trained speech embedding: recordings of speech as numbers that are alike for the same words by different people.

    samples -> spectrogram [2 * frames + 74, 32] -> convolutions -> embeddings [frames, 96] of 0.78 s of sound each

It is Google's speech_embedding (Lin et al., 2020, "Training keyword spotters with limited and synthesized speech data"),
Apache License 2.0. Its weights were learned from many people's speech and never change here. A small network over
it, the head, is trained for each model: it needs few voices to understand others.

The original has an embedding every 80 ms. Here the last two maxima over time skip nothing, and the layers behind them are
dilated instead, so that there is an embedding for each frame of DeepSpeech, every 20 ms, with the same numbers.
"""

from speechmodel_embedding.head import Head
from speechmodel_embedding.network import ACTIVATION_FLOOR, LEAK, Layer, Maximum, layers
from speechmodel_embedding.spectrogram import (
    BANDS,
    HOPS_PER_FRAME,
    MARGIN,
    Spectrogram,
    frame_count,
    spectrogram,
)

__all__ = [
    "ACTIVATION_FLOOR",
    "BANDS",
    "HOPS_PER_FRAME",
    "LEAK",
    "MARGIN",
    "Head",
    "Layer",
    "Maximum",
    "Spectrogram",
    "frame_count",
    "layers",
    "spectrogram",
]
