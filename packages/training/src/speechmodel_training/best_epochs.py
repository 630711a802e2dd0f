"""The best epochs among the checkpoints of a lineage: those with the lowest dev loss, and their folders `best-…`.

A best epoch that is later than the newest checkpoint does not count: training continues before it, perhaps with other settings.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from speechmodel_training.state import TrainingState

BEST = re.compile(r"best-(\d{9,})-epoch-(\d{6,})-attempt-(\d{4,})")
"""Name of a folder with the averages of a best epoch."""


def best_epochs(folder: Path) -> list[Path]:
    """Return the folders with the averages of best epochs, the latest first."""
    return latest_first(folder, BEST)


def later_bests(folder: Path, checkpoints: Iterable[Path]) -> list[Path]:
    """Return the best epochs after the newest of the checkpoints, the latest first."""
    newest = max(map(_position, checkpoints), default=(0, 0))
    return [best for best in best_epochs(folder) if _position(best) > newest]


def by_dev_loss(states: Mapping[Path, TrainingState]) -> list[Path]:
    """Return the checkpoints with a dev loss, the lowest and of equal ones the earliest first.

    Those from before the newest one's `rated_from` are left out: their dev clips were augmented in another way.
    """
    rated = [(state.dev_loss, state.step, folder) for folder, state in states.items() if state.dev_loss is not None]
    if not rated:
        return []
    rated_from = states[max(rated, key=lambda found: found[1])[2]].rated_from
    return [folder for _, _, folder in sorted(rated) if states[folder].epoch > rated_from]


def latest_first(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the checkpoints of one kind, by step, epoch and attempt."""
    names = [(match, path) for path in folder.iterdir() if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(names, key=lambda item: tuple(map(int, item[0].groups())), reverse=True)]


def _position(folder: Path) -> tuple[int, int]:
    """Return the step and the epoch of a checkpoint by its name. The last step of an epoch may be saved before it was measured."""
    _, step, _, epoch, *_ = folder.name.split("-")
    return int(step), int(epoch)
