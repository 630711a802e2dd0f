"""Settings that a dataset leaves without their effect."""

from collections.abc import Iterator


def unused_settings(batch_size: int, *, clips: int, dev_clips: int, waits_for_dev_loss: bool) -> Iterator[str]:
    """Yield a sentence for each setting that training on `clips` clips, measured on `dev_clips`, cannot follow."""
    if batch_size > clips:
        yield f"batchSize {batch_size} is above the number of training clips, so {clips} is used"
    if waits_for_dev_loss and not dev_clips:
        yield (
            "earlyStop and reduceOnPlateau have no effect, because there are no dev clips; add dev clips, or remove "
            "these settings"
        )
