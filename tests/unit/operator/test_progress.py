"""The log of a trainer is read while the status needs what it says."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from speechmodel_api.progress import TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import StageState
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.progress import ProgressReader
from speechmodel_operator.cluster.snapshot import Snapshot
from speechmodel_operator.cluster.views import Job, Model, Pod
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import STAGE_CONTAINER
from speechmodel_operator.resources.workers import JOB_NAME
from support.world import World

from .test_engine import SOME_TIME, metadata
from .test_resources import OWNER

JOB = "espejo-train-00000000-1"
RECORD = TrainProgress(epoch=3, max_epochs=9, step=30, fraction=0, time=datetime(2026, 1, 1, tzinfo=UTC))


class Logs:
    """An API server that counts the logs that are read."""

    def __init__(self) -> None:
        self.read = 0

    async def log(self, _pod: Pod, _container: str, **_limits: int) -> str:
        self.read += 1
        return RECORD.model_dump_json(by_alias=True)


def snapshot(state: StageState) -> Snapshot:
    """A model whose trainer has ended; the status says `state`."""
    stage = {"name": "train", "key": "00000000", "state": state, "attempt": 1, "failures": 0, "job": JOB}
    spec = World().spec
    model = {"metadata": metadata(OWNER.name, 3, uid=OWNER.uid), "spec": spec, "status": {"stages": [stage]}}
    marks = {labels.STAGE: "train", JOB_NAME: JOB}
    ended = {"name": STAGE_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
    pod = {"metadata": metadata("pod", 4, labels=marks), "status": {"phase": "Succeeded", "containerStatuses": [ended]}}
    job = Job.read({"metadata": metadata(JOB, 4, creationTimestamp=SOME_TIME)})
    return Snapshot(
        owner=OWNER,
        model=Model.read(model),
        spec=SpeechModelSpec.model_validate(spec),
        jobs={JOB: job},
        pods=(Pod.read(pod),),
        claim=None,
        deployment=None,
        canary=None,
        services={},
        accessories={},
    )


@pytest.mark.parametrize(
    ("state", "reads"), [(StageState.RUNNING, 1), (StageState.SUCCEEDED, 0), (StageState.FAILED, 0)]
)
async def test_the_log_of_a_trainer_whose_end_is_in_the_status_is_not_read(state: StageState, reads: int) -> None:
    logs = Logs()
    reader = ProgressReader(cast(Api, logs), timedelta(seconds=60))
    for _ in range(2):
        found = await reader.read(snapshot(state))
    assert logs.read == reads
    assert found == ({JOB: RECORD} if reads else {})
