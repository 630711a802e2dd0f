"""Settings that have no effect, or another one than usual, with the dataset or with other settings."""

from collections.abc import Iterator, Sequence

from speechmodel_api.learning import LearningSettings
from speechmodel_api.training_spec import EarlyStop, ReduceOnPlateau, Schedule, ScheduleType


def unused_settings(
    settings: LearningSettings,
    schedule: Schedule,
    *,
    clips: int,
    dev_clips: int,
    early_stop: EarlyStop | None,
    reduce_on_plateau: ReduceOnPlateau | None,
    augmentation: Sequence[str] = (),
    workers: int = 1,
) -> Iterator[str]:
    """Yield a sentence for each setting that training on `clips` clips, measured on `dev_clips`, cannot follow.

    `settings` are the values in use, and `schedule` is that of the manifest.
    """
    if settings.batch_size > clips:
        yield f"batchSize {settings.batch_size} is above the number of training clips, so {clips} is used"
    yield from _idle_workers(workers, min(settings.batch_size, clips))
    if early_stop or reduce_on_plateau:
        yield from _waiting(settings, schedule, dev_clips)
    default = Schedule()
    shaped = (schedule.warmup_percent, schedule.floor_percent) != (default.warmup_percent, default.floor_percent)
    if shaped and settings.schedule is ScheduleType.CONSTANT:
        yield "schedule.warmupPercent and floorPercent have no effect, because the learning rate is constant; remove them"
    if settings.consistency and not augmentation and not settings.dropout:
        yield (
            "consistency has no effect, because both versions of a clip are the same without augmentation and dropout; set "
            "consistency to 0, which takes half the time, or use one of them"
        )


def _idle_workers(workers: int, batch_size: int) -> Iterator[str]:
    """Yield a sentence if workers get no clip of a batch, or only one."""
    advice = "lower numWorkers or raise batchSize"
    if workers > batch_size:
        yield (
            f"numWorkers is {workers}, but a batch has {batch_size} clips, so {workers - batch_size} of the workers have nothing to "
            f"compute; {advice}"
        )
    elif workers > 1 and 2 * workers > batch_size:
        yield f"numWorkers is {workers}, but a batch has {batch_size} clips, so some workers get only one clip; {advice}"


def _waiting(settings: LearningSettings, schedule: Schedule, dev_clips: int) -> Iterator[str]:
    if not dev_clips:
        yield (
            "earlyStop and reduceOnPlateau have no effect, because there are no dev clips; add dev clips, or remove "
            "these settings"
        )
    elif schedule.type is ScheduleType.AUTO and settings.schedule is ScheduleType.COSINE:
        yield (
            "earlyStop and reduceOnPlateau are meant for a constant learning rate, but schedule.type Auto is Cosine, which improves "
            "most at its end; set schedule.type to Constant, or remove these settings"
        )
