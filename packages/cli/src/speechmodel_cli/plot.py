"""`speechmodel plot`: the curves of training, in the terminal or as a PNG file."""

import csv
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.published import EpochLoss
from speechmodel_api.stages.contract import StageName
from speechmodel_api.workspace import HISTORY, Workspace

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.errors import LocalError
from speechmodel_cli.local.state import known_models

ROWS = 15
"""Height of a chart in the terminal, in lines."""
_MARKERS = "braille", "x"
"""Marker of each curve of a chart."""
_ASCII_MARKERS = "*", "x"
_ASCII_FRAME = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")
"""Characters of a frame where the terminal has no others."""


@dataclass(frozen=True)
class _Chart:
    title: str
    curves: dict[str, Callable[[EpochLoss], float | None]]


_CHARTS = (
    _Chart("CTC loss", {"training": lambda epoch: epoch.loss, "dev": lambda epoch: epoch.dev_loss}),
    _Chart("Word error rate on dev, greedy decoding", {"dev": lambda epoch: epoch.dev_wer}),
    _Chart("Learning rate", {"learning rate": lambda epoch: epoch.learning_rate}),
)


def plot(folder: Path, name: str, png: Path | None) -> int:
    """Draw the curves of the newest training of a model. Return 1 when there is nothing to draw."""
    try:
        epochs = _read(_history(folder, name))
    except (CommandError, LocalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if png is None:
        _draw(name, epochs)
    else:
        _save(name, epochs, png)
    return 0


def _history(folder: Path, name: str) -> Path:
    """Return training.csv of the newest training, which may be running. Raises CommandError when there is none."""
    state = next((state for state in known_models(folder) if state.name == name), None)
    if state is None:
        raise CommandError(
            f"no model {name} in {folder.absolute()}; `speechmodel status` lists the models, --state gives another folder"
        )
    workspace = Workspace(state.workspace)
    train = state.read_status().stage(StageName.TRAIN)
    if train is not None and (path := workspace.export(train.key) / HISTORY).is_file():
        return path
    growing = list(state.workspace.glob(f"checkpoints/*/{HISTORY}"))
    if not growing:
        raise CommandError(f"{name} has not begun to train; `speechmodel status {name}` shows what it does")
    return max(growing, key=lambda path: path.stat().st_mtime)


def _read(path: Path) -> list[EpochLoss]:
    """Return the epochs. Raises CommandError when there are none, or the file is damaged."""
    with path.open(encoding="utf-8", newline="") as file:
        try:
            epochs = [
                EpochLoss.model_validate({key: value or None for key, value in row.items() if key})
                for row in csv.DictReader(file)
            ]
        except (csv.Error, UnicodeDecodeError, ValidationError) as error:
            raise CommandError(
                f"{path} is damaged: {str(error).splitlines()[0]}; `speechmodel run` writes it again after an epoch"
            ) from error
    if not epochs:
        raise CommandError(f"no epoch is finished yet ({path}); try again later")
    if not any(_points(chart, epochs) for chart in _CHARTS):
        raise CommandError(
            f"no value in {path} can be drawn: all are empty, infinite or NaN; check the log of the training"
        )
    return epochs


def _points(chart: _Chart, epochs: list[EpochLoss]) -> dict[str, tuple[list[int], list[float]]]:
    """Return epochs and values of each curve of a chart that has values. Infinite values and NaN are left out."""
    found = {}
    for name, value_of in chart.curves.items():
        points = [
            (epoch.epoch, value) for epoch in epochs if (value := value_of(epoch)) is not None and math.isfinite(value)
        ]
        if points:
            found[name] = [epoch for epoch, _ in points], [value for _, value in points]
    return found


def _draw(name: str, epochs: list[EpochLoss]) -> None:
    import plotext

    ascii_only = not _can_show("─⣿")
    markers = _ASCII_MARKERS if ascii_only else _MARKERS
    for chart in _CHARTS:
        if not (curves := _points(chart, epochs)):
            continue
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.plotsize(None, ROWS)
        for (label, (x, y)), marker in zip(curves.items(), markers, strict=False):
            plotext.plot(x, y, label=f"{label}, last {y[-1]:.4g}", marker=marker)
        plotext.title(f"{name}: {chart.title}")
        first, last = epochs[0].epoch, epochs[-1].epoch
        plotext.xticks(sorted({round(first + (last - first) * share / 6) for share in range(7)}))
        plotext.xlabel("epoch")
        text = plotext.uncolorize(plotext.build())
        sys.stdout.write(f"{text.translate(_ASCII_FRAME) if ascii_only else text}\n")


def _can_show(characters: str) -> bool:
    """Return True if the encoding of stdout has these characters."""
    try:
        characters.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _save(name: str, epochs: list[EpochLoss], png: Path) -> None:
    from matplotlib.figure import Figure

    charts = [(chart.title, curves) for chart in _CHARTS if (curves := _points(chart, epochs))]
    figure = Figure(figsize=(8, 3 * len(charts)), layout="constrained")
    figure.suptitle(name)
    for axes, (title, curves) in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
        for label, (x, y) in curves.items():
            axes.plot(x, y, label=label, marker="." if len(x) < 2 else None)
        axes.set(title=title, xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(png, format="png", dpi=120)
