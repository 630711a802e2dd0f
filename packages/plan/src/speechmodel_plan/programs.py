"""Stage programs."""

from speechmodel_api.stages import Stage

PROGRAMS = {
    Stage.PREPARE: "speechmodel_pipeline.prepare",
    Stage.TRAIN: "speechmodel_training.train",
    Stage.CONVERT: "speechmodel_pipeline.convert",
    Stage.EVALUATE: "speechmodel_pipeline.evaluate",
    Stage.PUBLISH: "speechmodel_pipeline.publish",
}
