"""The health checks of docs/gitops on statuses that the plan writes, in Lua as Argo CD runs it and in CEL as Flux does."""

from collections.abc import Callable
from typing import Any

import cel
import lupa.lua51
import pytest
import yaml
from speechmodel_api.stages.contract import StageName
from speechmodel_plan.observed import Trouble
from speechmodel_plan.status import failed_status
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
    """Return what Flux makes of flux.yaml (StatusEvaluator in fluxcd/pkg): the first expression that holds, unless the status is
    about another generation. Where an expression cannot be evaluated, the state is unknown, and Flux goes on waiting.
    """
    kustomization = yaml.safe_load((GITOPS / "flux.yaml").read_text(encoding="utf-8"))
    (expressions,) = kustomization["spec"]["healthCheckExprs"]
    generation = model["metadata"]["generation"]
    if model.get("status", {}).get("observedGeneration", generation) != generation:
        return "inProgress"
    try:
        return next(
            (n for n in ("inProgress", "failed", "current") if cel.evaluate(expressions[n], model)), "inProgress"
        )
    except RuntimeError:
        return "unknown"


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


def unreadable(world: World) -> None:
    """Edit a ready model so that the operator cannot read its spec."""
    edited(world)
    fail(world, "InvalidSpec", "spec.training.augmentation: 'revreb[p=0.1]': revreb is unknown")


def never_readable(world: World) -> None:
    fail(world, "InvalidSpec", "spec.training.augmentation: 'revreb[p=0.1]': revreb is unknown")


def webhook_down(world: World) -> None:
    """Fail the first step after an edit of a ready model."""
    edited(world)
    fail(world, "ApiError", "no answer to PATCH")


def stalled_before(world: World) -> None:
    """Edit a stalled model, before the operator sees it."""
    invalid(world)
    world.edit(dataset__revision="2")


def fail(world: World, reason: str, message: str) -> None:
    world.status = failed_status(world.status, world.generation, Trouble(reason, message), world.now)


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
        (unreadable, "Degraded", "failed", "InvalidSpec: spec.training.augmentation: 'revreb[p=0.1]'"),
        (never_readable, "Degraded", "failed", "InvalidSpec: spec.training.augmentation: 'revreb[p=0.1]'"),
        (webhook_down, "Progressing", "inProgress", "ApiError: no answer to PATCH"),
        (stalled_before, "Progressing", "inProgress", "has not seen the newest spec"),
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


def test_argo_and_flux_wait_for_the_first_status() -> None:
    model: Object = {"metadata": {"name": "espejo", "generation": 1}, "spec": {}}
    assert argo_health(model)[0] == "Progressing"
    assert flux_status(model) == "unknown", "no variable is named status then"
    assert flux_status(model | {"status": {}}) == "inProgress"
