"""A bare trainer in torch: the network of DeepSpeech 0.9.3 with nn.LSTM, CTC and Adam, on random features.

    python torch_trainer.py UNITS LABELS EPOCHS < batches.json

It runs in an environment of its own. It reads no recordings, computes no features, saves nothing and
measures no dev clips, so it shows how fast the network alone can be trained. The input lists the batches, each with the
frames and the transcript's length of every clip. After each epoch it prints the time and its processor time, in seconds.
"""

import importlib
import json
import sys
import time
from typing import Any

torch = importlib.import_module("torch")
nn = importlib.import_module("torch.nn")

INPUTS, CEILING, DROPOUT, RATE = 494, 20.0, 0.05, 1e-4


def main(units: int, labels: int, epochs: int) -> None:
    """Train and print."""
    torch.manual_seed(1)
    before = nn.Sequential(*(_dense(inputs, units) for inputs in (INPUTS, units, units)))
    lstm = nn.LSTM(units, units)
    after = nn.Sequential(_dense(units, units), nn.Linear(units, labels + 1))
    ctc = nn.CTCLoss(blank=labels)
    adam = torch.optim.Adam([weight for part in (before, lstm, after) for weight in part.parameters()], RATE)
    batches = [_batch(clips, labels) for clips in json.load(sys.stdin)]
    for _ in range(epochs):
        for features, transcripts, frames, lengths in batches:
            adam.zero_grad()
            outputs = after(lstm(before(features))[0]).log_softmax(2)
            ctc(outputs, transcripts, frames, lengths).backward()
            adam.step()
        print(time.perf_counter(), time.process_time(), flush=True)


def _dense(inputs: int, units: int) -> Any:
    return nn.Sequential(nn.Linear(inputs, units), nn.Hardtanh(0.0, CEILING), nn.Dropout(DROPOUT))


def _batch(clips: list[tuple[int, int]], labels: int) -> tuple[Any, Any, Any, Any]:
    """Return features [time, batch, 494], labels [batch, longest], and the lengths of both."""
    frames = torch.tensor([frames for frames, _ in clips])
    lengths = torch.tensor([length for _, length in clips])
    features = torch.randn(int(frames.max()), len(clips), INPUTS)
    return features, torch.randint(labels, (len(clips), int(lengths.max()))), frames, lengths


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
