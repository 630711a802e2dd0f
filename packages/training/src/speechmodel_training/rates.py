"""The learning rate of every step: a function of the progress of training alone."""

import math

from speechmodel_api.training_spec import Schedule, ScheduleType


def share_of_rate(schedule: Schedule, shape: ScheduleType, progress: float) -> float:
    """Return the share of the largest learning rate, 0...1, for a step after which `progress`
    (0...1) of all clips of all epochs are trained.

    `shape` is the schedule's type, or what was chosen for Auto.
    """
    if shape is ScheduleType.CONSTANT:
        return 1.0
    warmup, floor = schedule.warmup_percent / 100, schedule.floor_percent / 100
    if progress < warmup:
        return progress / warmup
    fallen = min((progress - warmup) / (1 - warmup), 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * fallen)) / 2
