"""Deterministic names: after a crash the same spec asks for the same objects, and the API server rejects duplicates.

With a SpeechModel name of at most 36 characters none exceeds 63 (tests/unit/operator/test_resources.py).
"""

import re
from dataclasses import dataclass

from speechmodel_api.stages.contract import StageName

_RUN = re.compile(rf".+-({'|'.join(StageName)})-([0-9a-f]{{8}})-([0-9]+)")


@dataclass(frozen=True)
class RunName:
    """The parts of the name of a stage's Job or local run, without the SpeechModel."""

    stage: StageName
    key: str
    attempt: int

    @classmethod
    def read(cls, name: str) -> "RunName | None":
        """Return the parts of a name, or None if it is not that of a run. A name cannot be edited, unlike a label."""
        match = _RUN.fullmatch(name)
        return cls(StageName(match[1]), match[2], int(match[3])) if match else None


def run_name(model: str, stage: StageName, key: str, attempt: int) -> str:
    """Return the name of a stage's Job or local run."""
    return f"{model}-{stage.value}-{key}-{attempt}"


def purge_name(model: str, uid: str) -> str:
    """Return the name of the Job that removes published objects."""
    return f"{model}-purge-{uid[:8]}"


def claim_name(model: str) -> str:
    """Return the name of the workspace claim that the operator creates."""
    return f"{model}-workspace"


def workers_service(model: str) -> str:
    """Return the name of the Service by which the workers of training find each other."""
    return f"{model}-train"


def deployment_name(model: str) -> str:
    """Return the name of the server's Deployment."""
    return model


def canary_name(model: str) -> str:
    """Return the name of the Deployment of a canary."""
    return f"{model}-canary"


def retrain_account(model: str) -> str:
    """Return the name of the ServiceAccount of servers that may start a training. The operator's chart creates it."""
    return f"{model}-retrain"
