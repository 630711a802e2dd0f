"""Read the trainer's progress from the log of its pod, at an interval of its own."""

import math
import time
from collections.abc import Mapping
from datetime import timedelta

from speechmodel_api.progress import StepProgress, TrainProgress, last_progress
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import StageState

from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.snapshot import Snapshot
from speechmodel_operator.cluster.views import Pod
from speechmodel_operator.resources.pod import STAGE_CONTAINER
from speechmodel_operator.resources.workers import JOB_NAME

LOG_LINES = 100
LOG_BYTES = 64 * 1024


class ProgressReader:
    """Remembers the newest record of each Job, and when each pod's log was read."""

    def __init__(self, api: Api, interval: timedelta) -> None:
        self._api, self.interval = api, interval
        self._newest: dict[str, TrainProgress | StepProgress] = {}
        self._read_at: dict[str, float] = {}
        """Monotonic seconds by pod; infinity once it was read after its end."""

    async def read(self, snapshot: Snapshot) -> Mapping[str, TrainProgress | StepProgress]:
        """Return the newest record of each Job, by its name. The log of one whose end is in the status is not read: after a restart
        of the operator, that would be the log of every model.
        """
        recorded = snapshot.model.status.stage(StageName.TRAIN)
        ended = recorded.job if recorded and recorded.state is not StageState.RUNNING else None
        for pod in observe.with_stage(snapshot.pods, StageName.TRAIN.value):
            job = pod.metadata.labels.get(JOB_NAME, "")
            if job in snapshot.jobs and job != ended and observe.worker_index(pod) == 0 and self._due(pod):
                text = await self._api.log(pod, STAGE_CONTAINER, lines=LOG_LINES, limit=LOG_BYTES)
                if record := last_progress(text):
                    self._newest[job] = record
        pods = {pod.metadata.name for pod in snapshot.pods}
        self._read_at = {name: at for name, at in self._read_at.items() if name in pods}
        self._newest = {job: record for job, record in self._newest.items() if job in snapshot.jobs}
        return dict(self._newest)

    def _due(self, pod: Pod) -> bool:
        """Return True at most once an interval while the pod runs, and once after its end."""
        name, now = pod.metadata.name, time.monotonic()
        last = self._read_at.get(name, -math.inf)
        if pod.state(STAGE_CONTAINER).terminated is not None:
            self._read_at[name] = math.inf
            return last < math.inf
        # slightly early rather than a whole interval late
        due = pod.status.phase == "Running" and now - last >= 0.9 * self.interval.total_seconds()
        if due:
            self._read_at[name] = now
        return due
