"""`python -m speechmodel_training.coqui`: the stage program of train for the engine CoquiSTT."""

from speechmodel_api.stages.train import TrainInput
from speechmodel_stagekit.program import run_stage

from speechmodel_training.coqui.stage import train

if __name__ == "__main__":
    run_stage(TrainInput, train, handles_stop=True)
