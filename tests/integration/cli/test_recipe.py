"""examples/recipe: recordings under the names that people bring from the recipe, as they are."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from speechmodel_api.alphabet import CATCH_ALL
from support.places import RECIPE
from support.workplace import Workplace, interrupt, read_until

pytestmark = pytest.mark.training
PHRASES = {"1": "ok espejo", "2": "hola espejo", "3": "espejo", "4": "vale espejo", "5": "llama a mi hija"} | {
    "6": "espejo llama a mi hijo",
    "7": "espejo llama a mi nuera",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Workplace:
    """The example with a training of two epochs."""
    shutil.copytree(RECIPE, tmp_path, dirs_exist_ok=True)
    document = yaml.safe_load((tmp_path / "speechmodel.yaml").read_text())
    document["spec"]["training"] = {"maxEpochs": 2, "hyperparameters": {"hiddenUnits": 32, "batchSize": 8}}
    document["metadata"]["name"] = "voz"
    place = Workplace(tmp_path)
    place.manifest.write_text(yaml.safe_dump(document))
    return place


def test_the_recipes_files_are_trained_and_published_under_their_own_phrases(recipe: Workplace) -> None:
    done = recipe.run()
    assert done.returncode == 0, done.stdout + done.stderr
    (data,) = (recipe.state / "workspace/data").iterdir()
    report = json.loads((data / "report.json").read_bytes())
    assert report["layout"] == "<anything>_<id>_<take>"
    assert (report["clips"], report["rejected"], report["unnamedFiles"]) == (19, [], [])
    with (data / "registry.csv").open(encoding="utf-8", newline="") as file:
        labelled = {
            row["recording"]: row["transcript"] for row in csv.DictReader(file) if row["transcript"] != CATCH_ALL
        }
    assert len(labelled) == 19
    assert labelled == {name: PHRASES[name.split("_")[-2]] for name in labelled}
    (log,) = (recipe.state / "runs").glob("voz-prepare-*/log")
    assert "layout of the recordings: <anything>_<id>_<take>" in log.read_text()
    assert recipe.condition("Published")["status"] == "True"


def test_recordings_that_belong_to_no_row_are_counted_where_the_user_looks(recipe: Workplace) -> None:
    table = recipe.folder / "recipe-dataset/commands.csv"
    table.write_text(table.read_text().replace("7,espejo llama a mi nuera\n", ""))
    process = recipe.start()
    read_until(process, lambda line: line.startswith("prepare: done"))
    interrupt(process)
    assert "2 recordings belong to no row; first: original/es/shapes_" in recipe.condition("DatasetReady")["message"]
    (log,) = (recipe.state / "runs").glob("voz-prepare-*/log")
    assert log.read_text().count("no row names the recording original/es/shapes_") == 2


def test_a_layout_that_gives_one_id_everything_ends_the_run_with_file_names(recipe: Workplace) -> None:
    folder = recipe.folder / "recipe-dataset/original/es"
    for path in folder.iterdir():
        path.rename(folder / f"2_{path.stem.split('_')[1]}.wav")
    done = recipe.run()
    assert done.returncode == 1
    assert "19 of 19 recordings would belong to the id 2, and 6 of 7 ids would have none" in done.stdout + done.stderr
    assert recipe.condition("DatasetReady")["reason"] == "InvalidDataset"
