"""Stage programs."""

from speechmodel_api.stages import StageName

PROGRAMS = {
    StageName.PREPARE: "speechmodel_pipeline.prepare",
    StageName.TRAIN: "speechmodel_training.train",
    StageName.CONVERT: "speechmodel_pipeline.convert",
    StageName.EVALUATE: "speechmodel_pipeline.evaluate",
    StageName.PUBLISH: "speechmodel_pipeline.publish",
}
