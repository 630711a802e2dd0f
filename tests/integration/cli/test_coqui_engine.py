"""`training.engine: CoquiSTT`: a manifest becomes a model by coqui-stt-training 1.4.0 itself."""

from pathlib import Path

import pytest
from support.coqui import coqui
from support.workplace import Workplace, interrupt, read_until

pytestmark = [pytest.mark.training, pytest.mark.slow]

CLIP, PHRASE = "shapes_6364d3f0_2_3_000000_3_002.wav", "espejo"
"""A training clip."""
EPOCHS = 60
HYPERPARAMETERS = {"hiddenUnits": 64, "batchSize": 1, "learningRate": 0.003, "dropout": 0}


def test_an_interrupted_training_by_coqui_ends_in_a_model_that_transcribes(tmp_path: Path) -> None:
    environment = {"SPEECHMODEL_COQUI_PYTHON": str(coqui())}
    place = Workplace.make(tmp_path)
    (place.folder / "voices" / "dev.csv").unlink()  # so that the last epoch is exported
    table = place.folder / "voices" / "train.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    of_clip = [row for row in rows if CLIP in row]
    table.write_text("".join([header, *of_clip, *[row for row in rows if row not in of_clip][:3]]), encoding="utf-8")
    place.train(engine="CoquiSTT", maxEpochs=EPOCHS, hyperparameters=HYPERPARAMETERS)
    first = place.start(**environment)
    read_until(first, lambda line: f"train: epoch 1/{EPOCHS}" in line)
    code, rest = interrupt(first)
    assert code == 130, rest
    place.until_deserted()  # the processes of Coqui's own notice a moment later that it has ended
    done = place.run(**environment)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = place.stage("train")["output"]
    assert (trained["epoch"], trained["settings"]["schedule"]) == (EPOCHS, "Constant")
    assert trained["loss"] < 10
    heard = place.call("transcribe", "--model", "voz", str(place.folder / "voices" / "clips" / CLIP))
    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip() == PHRASE, trained
