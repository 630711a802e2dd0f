"""A sample of the clips of a part, for figures that need only some of them."""

from collections.abc import Sequence

from speechmodel_stagekit.dataset import Clip


def evenly_spaced(clips: Sequence[Clip], most: int) -> list[Clip]:
    """Return at most `most` of the clips, evenly spaced in their order.

    A part is ordered from short to long, so the sample has clips of every length.
    """
    count = min(most, len(clips))
    return [clips[(2 * index + 1) * len(clips) // (2 * count)] for index in range(count)]
