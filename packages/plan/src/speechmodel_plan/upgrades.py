"""Changes of servers that come from an upgrade of the operator, or from its settings, and not from the SpeechModel.

An engine may put them off. What a user, a promotion or a roll-back asks for is never put off.
"""

from speechmodel_api.status import CanaryState, ConditionType, ModelStatus

from speechmodel_plan.decision import Decision, Idle
from speechmodel_plan.observed import Observed, Server
from speechmodel_plan.promotion import Choice
from speechmodel_plan.stages.compare import COMPARE


def upgrade_only(seen: Observed, decision: Decision, choice: Choice) -> bool:
    """Return True when another Deployment of the server is wanted because of the operator alone: the last status was about this
    spec and this version, which were rolled out, and every replica is ready. Replacing a server that is not ready cannot hurt.
    """
    serving, served, server = seen.spec.serving, seen.status.served, seen.server
    if serving is None or served is None or choice.model is None:
        return False
    if server is None or server.settled or not _rests(seen, server, served):
        return False
    by_hand = serving.autoscaling is None and server.replicas != serving.replicas
    return not by_hand and _source(choice.model) == _source(served) and _was_rolled_out(seen, decision, choice)


def upgrade_of_canary_only(seen: Observed, choice: Choice, replicas: int) -> bool:
    """Return True when whatever the Deployment of the canary lacks comes from the operator alone. `replicas` are wanted of it."""
    before, tried, canary = seen.status.canary, choice.latest, seen.canary
    if before is None or before.state is not CanaryState.RUNNING or tried is None or canary is None:
        return False
    return before.version == tried.version and canary.server.replicas == replicas and _rests(seen, canary.server, tried)


def _rests(seen: Observed, server: Server, version: ModelStatus) -> bool:
    """Return True when the last status was about this spec, and servers of a version are all ready."""
    ready = server.steady and server.replicas > 0 and server.version == version.version
    return ready and seen.status.observed_generation == seen.generation


def _source(model: ModelStatus) -> tuple[object, ...]:
    """Return the part of a version that its servers are made from. A new release may record more about the same version."""
    return (
        *(model.version, model.version_uri, model.version_sha256, model.signed_by),
        *(model.endpoint, model.region, model.secret_name),
    )


def _was_rolled_out(seen: Observed, decision: Decision, choice: Choice) -> bool:
    """Return True unless the last status says that the Deployment of this spec was refused, or was still being rolled out. A newest
    version that is withheld, or compared, hides that.
    """
    if choice.withheld is not None or (not isinstance(decision, Idle) and decision.stage is COMPARE):
        return True
    promoted = seen.status.condition(ConditionType.PROMOTED)
    return promoted is not None and promoted.status == "True" and promoted.observed_generation == seen.generation
