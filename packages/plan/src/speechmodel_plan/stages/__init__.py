"""The stages, one object in one file each, in the order in which they run."""

from typing import Any

from speechmodel_api.stages.contract import StageName

from speechmodel_plan.stages.compare import COMPARE
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.download import DOWNLOAD
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.publish import PUBLISH
from speechmodel_plan.stages.stage import Stage
from speechmodel_plan.stages.train import TRAIN

STAGES: tuple[Stage[Any], ...] = (PREPARE, DOWNLOAD, TRAIN, CONVERT, EVALUATE, PUBLISH, COMPARE)

_BY_NAME = {stage.name: stage for stage in STAGES}


def stage_named(name: StageName) -> Stage[Any]:
    """Return the stage of that name."""
    return _BY_NAME[name]
