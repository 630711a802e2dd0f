"""The file of limits that the benchmark of many models compares its figures with."""

import re
from statistics import mean

import pytest
import yaml
from support.places import ROOT

LIMITS = yaml.safe_load((ROOT / "tests/bench/scale_limits.yaml").read_text(encoding="utf-8"))
FIGURES = LIMITS["figures"]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: str(figure["name"]))
def test_a_limit_is_the_mean_of_known_runs_and_a_fifth(figure: dict[str, object]) -> None:
    by_run = figure["values"]
    assert isinstance(by_run, dict)
    assert by_run.keys() <= {run["id"] for run in LIMITS["runs"]}
    values = list(by_run.values())
    assert figure["mean"] == pytest.approx(mean(values), rel=0.01)
    assert figure["spread"] == pytest.approx(max(values) - min(values), abs=0.01)
    assert figure["limit"] == pytest.approx(1.2 * mean(values), rel=0.01)
    bench = (ROOT / "tests/bench/scale_bench.py").read_text(encoding="utf-8")
    assert f'"{figure["name"]}"' in bench, "the benchmark prints a figure of that name"


def test_ratios_come_first_and_every_run_is_named() -> None:
    ratios = [figure["ratio"] for figure in FIGURES]
    assert any(ratios)
    assert ratios == sorted(ratios, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}-[a-z]", run["id"]) and run["command"] for run in LIMITS["runs"])
