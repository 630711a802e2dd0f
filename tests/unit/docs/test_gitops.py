"""The health checks of docs/gitops on statuses that the plan writes, in Lua as Argo CD runs it and in CEL as Flux does."""

from collections.abc import Callable
from typing import Any

import cel
import lupa.lua51
import pytest
import yaml
from speechmodel_api.stages.contract import StageName
from support.places import ROOT
from support.world import World

GITOPS = ROOT / "docs" / "gitops"
Object = dict[str, Any]


def argo_health(model: Object) -> tuple[str, str]:
    """Return status and message of health.lua."""
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    program = (GITOPS / "health.lua").read_text(encoding="utf-8")
    check: Any = lua.eval(f"function(obj) {program} end")
    health = check(lua.table_from(model, recursive=True))
    return health["status"], health["message"]


def flux_status(model: Object) -> str:
    """Return the first expression of flux.yaml that holds, as Flux evaluates them."""
    kustomization = yaml.safe_load((GITOPS / "flux.yaml").read_text(encoding="utf-8"))
    (expressions,) = kustomization["spec"]["healthCheckExprs"]
    for name in ("inProgress", "failed", "current"):
        if cel.evaluate(expressions[name], model):
            return name
    return "inProgress"


def fresh(world: World) -> None:
    world.step()


def ready(world: World) -> None:
    world.to_ready()


def retraining(world: World) -> None:
    world.to_ready()
    world.edit(training__maxEpochs=20)
    world.until(StageName.TRAIN)


def edited(world: World) -> None:
    """Edit a ready model, before the operator sees it."""
    world.to_ready()
    world.edit(training__maxEpochs=20)


def suspended(world: World) -> None:
    world.to_ready()
    world.edit(training__maxEpochs=20, suspend=True)
    world.step()


def invalid(world: World) -> None:
    world.until(StageName.PREPARE)
    world.fail(65, "InvalidDataset", "commands.csv: row 3 has no transcript")
    world.step()


def gated(world: World) -> None:
    world.to_ready()
    world.edit(training__maxEpochs=20, evaluation={"gate": {"maxWER": 0.01}})
    world.to_rest()


@pytest.mark.parametrize(
    ("life", "argo", "flux", "words"),
    [
        (fresh, "Progressing", "inProgress", "WaitingForClaim"),
        (ready, "Healthy", "current", "is trained, published and served"),
        (retraining, "Progressing", "inProgress", "Training"),
        (edited, "Progressing", "inProgress", "has not seen the newest spec"),
        (suspended, "Suspended", "inProgress", "spec.suspend is true"),
        (invalid, "Degraded", "failed", "InvalidDataset: commands.csv: row 3 has no transcript"),
        (gated, "Degraded", "failed", "QualityGateFailed"),
    ],
)
def test_argo_and_flux_read_the_status_alike(life: Callable[[World], None], argo: str, flux: str, words: str) -> None:
    world = World()
    life(world)
    status = world.status.model_dump(by_alias=True, exclude_none=True, mode="json")
    model = {"metadata": {"name": "espejo", "generation": world.generation}, "spec": world.spec, "status": status}
    health, message = argo_health(model)
    assert health == argo
    assert words in message
    assert flux_status(model) == flux


def test_a_model_without_a_status_is_in_progress() -> None:
    model: Object = {"metadata": {"name": "espejo", "generation": 1}, "spec": {}}
    assert argo_health(model)[0] == "Progressing"
    assert flux_status(model | {"status": {}}) == "inProgress"
