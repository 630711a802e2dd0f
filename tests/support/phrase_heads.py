"""Heads of phrase networks: one that knows nothing, and one that knows the fixture's clips."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from speechmodel_decoding import AcousticModel, LogProbabilities
from speechmodel_embedding import Head
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.phrases import export_phrase_network
from speechmodel_runtime import load, read_graph

from support.places import FIXTURES

WIDTH, UNITS = 96, 512
_LATE = 6
"""Frames at the end of a clip that have its last label, which the graph gives to the last frame alone."""
GRAPH = FIXTURES / "tf2_128.pb"


def ignorant_head(classes: int | None = None, seed: int = 0) -> Head:
    """Random weights, for the labels of the fixture's graph unless `classes` is given."""
    chance = np.random.default_rng(seed)
    classes = classes or len(read_graph(GRAPH).labels) + 1
    kernel, output = chance.normal(0, 0.1, (WIDTH, 8)), chance.normal(0, 0.1, (8, classes))
    return Head(
        mean=np.zeros(WIDTH, np.float32),
        deviation=np.ones(WIDTH, np.float32),
        kernel=kernel.astype(np.float32),
        bias=np.zeros(8, np.float32),
        output=output.astype(np.float32),
        output_bias=np.zeros(classes, np.float32),
    )


@cache
def knowing_head() -> Head:
    """Weights, by least squares, with which each frame of the fixture's clips has the label that the fixture's graph gives it."""
    clips = [load(path) for path in sorted((FIXTURES / "clips").glob("*.wav"))]
    with tempfile.TemporaryDirectory() as folder:
        seeing, hearing = Path(folder) / "seeing.onnx", Path(folder) / "hearing.onnx"
        export_head(_seeing(), seeing)
        export_acoustic_model(GRAPH, hearing)
        seen, heard = AcousticModel(seeing), AcousticModel(hearing)
        embedded, targets = [], []
        for pcm in clips:
            embeddings, frames = _embeddings(seen.log_probabilities(pcm)), heard.log_probabilities(pcm)
            classes, blank = frames.argmax(axis=1), frames.shape[1] - 1
            labels = np.full(len(embeddings), blank)
            labels[: len(classes)] = classes[: len(labels)]
            labels[-_LATE:] = classes[classes != blank][-1]
            embedded.append(embeddings)
            targets.append(np.eye(blank + 1)[labels])
    values = np.concatenate(embedded)
    mean, deviation = values.mean(axis=0), values.std(axis=0) + 1e-3
    chance = np.random.default_rng(0)
    kernel, bias = chance.normal(0, 0.2, (WIDTH, UNITS)), chance.normal(0, 1, UNITS)
    units = np.maximum((values - mean) / deviation @ kernel + bias, 0)
    units = np.concatenate([units, np.ones((len(units), 1))], axis=1)
    output = np.linalg.solve(units.T @ units + 0.1 * np.eye(UNITS + 1), units.T @ np.concatenate(targets)) * 12
    weights = (mean, deviation, kernel, bias, output[:-1], output[-1])
    return Head(*(weight.astype(np.float32) for weight in weights))


def export_head(head: Head, target: Path) -> None:
    """Write the phrase network of a head."""
    weights = target.with_suffix(".npz")
    head.save(weights)
    export_phrase_network(weights, target)
    weights.unlink()


def _seeing() -> Head:
    """Weights whose log probabilities tell the embedding: those of its positive part, its negative part, and 0."""
    both = np.concatenate([np.eye(WIDTH), -np.eye(WIDTH)], axis=1)
    last = np.zeros(2 * WIDTH + 1)
    output = np.eye(2 * WIDTH, 2 * WIDTH + 1)
    weights = (np.zeros(WIDTH), np.ones(WIDTH), both, np.zeros(2 * WIDTH), output, last)
    return Head(*(weight.astype(np.float32) for weight in weights))


def _embeddings(frames: LogProbabilities) -> LogProbabilities:
    logits: LogProbabilities = frames - frames[:, -1:]
    return (logits[:, :WIDTH] - logits[:, WIDTH:-1]).astype(np.float32)
