"""Names of Jobs and local runs, which say what they run."""

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_plan.names import RunName, purge_name, run_name


@pytest.mark.parametrize("model", ["espejo", "a-train-0a1b2c3d-2", "x" * 36])
@pytest.mark.parametrize("stage", StageName)
@pytest.mark.parametrize("attempt", [0, 1, 12])
def test_a_name_says_what_it_runs(model: str, stage: StageName, attempt: int) -> None:
    assert RunName.read(run_name(model, stage, "0a1b2c3d", attempt)) == RunName(stage, "0a1b2c3d", attempt)


@pytest.mark.parametrize(
    "name", ["espejo", "espejo-train", "espejo-train-0a1b2c3d-1-copy", purge_name("espejo", "u" * 36)]
)
def test_other_names_are_those_of_no_run(name: str) -> None:
    assert RunName.read(name) is None
