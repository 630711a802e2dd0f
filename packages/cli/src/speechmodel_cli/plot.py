"""`speechmodel plot`: the curves of training, in the terminal or as a PNG file."""

import csv
import math
import mimetypes
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
LARGEST = 1e9
"""Values above are left out: only a training that diverges has them, and they would hide all others."""
_STREAM = Path("-")
"""Stands for stdout."""
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
    """Draw the curves of the newest training of a model, in a PNG file if `png` is given. Return 1 when there is nothing to draw."""
    try:
        if png is not None:
            _require_png(png)
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


def _require_png(path: Path) -> None:
    """Raise CommandError when a PNG does not belong there."""
    if path == _STREAM:
        if sys.stdout.isatty():
            raise CommandError("--png - writes the picture to stdout, which is a terminal; redirect it or name a file")
        return
    kind, _ = mimetypes.guess_type(path)
    if kind is not None and kind != "image/png":
        raise CommandError(
            f"--png writes a PNG file, but {path.name} has the ending of another format; use {path.stem}.png"
        )


def _read(path: Path) -> list[EpochLoss]:
    """Return the epochs. Raises CommandError when there are none, or the file is damaged."""
    epochs = []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        try:
            for row in rows:
                epochs.append(EpochLoss.model_validate({key: value or None for key, value in row.items() if key}))
        except (csv.Error, UnicodeDecodeError) as error:
            raise _damaged(path, f"line {rows.line_num}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            column, value = first["loc"][0], (row.get(str(first["loc"][0])) or "nothing")
            raise _damaged(path, f"line {rows.line_num} has {value} in the column {column}") from error
    if not epochs:
        raise CommandError(f"no epoch is finished yet ({path}); try again later")
    if not any(_points(chart, epochs) for chart in _CHARTS):
        raise CommandError(
            f"no value in {path} can be drawn: all are empty, infinite, above {LARGEST:g} or NaN; check the log of the training"
        )
    return epochs


def _damaged(path: Path, why: str) -> CommandError:
    return CommandError(f"{path} is damaged: {why}; `speechmodel run` writes it again after an epoch")


def _points(chart: _Chart, epochs: list[EpochLoss]) -> dict[str, tuple[list[int], list[float]]]:
    """Return epochs and values of each curve of a chart that has values. NaN and values above LARGEST are left out."""
    found = {}
    for name, value_of in chart.curves.items():
        points = [
            (epoch.epoch, value)
            for epoch in epochs
            if (value := value_of(epoch)) is not None and not math.isnan(value) and abs(value) <= LARGEST
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
    figure.savefig(sys.stdout.buffer if png == _STREAM else png, format="png", dpi=120)
