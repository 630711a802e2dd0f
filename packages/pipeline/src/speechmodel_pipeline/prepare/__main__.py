"""`python -m speechmodel_pipeline.prepare`."""

from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.prepare.stage import prepare

if __name__ == "__main__":
    run_stage(PrepareInput, prepare)
