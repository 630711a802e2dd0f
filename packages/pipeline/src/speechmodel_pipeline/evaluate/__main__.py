"""`python -m speechmodel_pipeline.evaluate`."""

from speechmodel_api.stages.evaluate import EvaluateInput
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.evaluate.stage import evaluate

if __name__ == "__main__":
    run_stage(EvaluateInput, evaluate)
