"""Deterministic names: the same spec after a crash asks for the same objects, and the API server refuses the second of a kind.

With a SpeechModel's name of at most 36 characters none is longer than 63; tests/unit/operator shows it.
"""

from speechmodel_api.stages import StageName


def run_name(model: str, stage: StageName, key: str, attempt: int) -> str:
    """Of a stage's Job."""
    return f"{model}-{stage.value}-{key}-{attempt}"


def purge_name(model: str, uid: str) -> str:
    """Of the Job that removes what was published."""
    return f"{model}-purge-{uid[:8]}"


def claim_name(model: str) -> str:
    """Of the workspace claim that the operator makes."""
    return f"{model}-workspace"


def deployment_name(model: str) -> str:
    """Of the server's Deployment."""
    return model
