"""Events about objects that wait for long: nothing else says what rejects a pod, keeps a volume from being mounted, or a claim from
being bound.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from speechmodel_operator.cluster import pods, waiting
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.errors import Refused
from speechmodel_operator.cluster.snapshot import Snapshot
from speechmodel_operator.cluster.views import EventView, ObjectView

READ_EVERY, ASK_AGAIN = timedelta(seconds=50), timedelta(seconds=10)
"""Time between two reads about an object, and until the next one if there was nothing. The first is slightly less than the time
between two steps of a model that waits.
"""
OF_JOBS = ("FailedCreate",)
OF_PODS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
OF_CLAIMS = ("ProvisioningFailed", "ExternalProvisioning")
"""Reasons of Events that tell why an object of a kind waits."""
SAME_TIME = timedelta(minutes=6)
"""Time for which an Event may be older than the newest one and still hold: the kubelet repeats one every five minutes at least."""
_SUMMARIES = re.compile(r"^(Unable to attach or mount volumes|Waiting for a volume to be created)")
"""Messages that only say that something else was not done."""
_PREFIX = re.compile(
    r'^(\(combined from similar events\): )?(Error creating: ([Pp]ods? "[^"]*" is (forbidden|invalid): )?)?'
)
"""Begin of a message that adds nothing. The name of a pod that was rejected is another one in each attempt of the Job's controller."""


@dataclass(frozen=True)
class _Read:
    at: datetime
    message: str


class EventReader:
    """Remembers the last message of Events about each object of a SpeechModel that waits, so that few steps read them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._reads: dict[str, _Read] = {}
        """The last read about each object that waits, by its uid."""

    async def read(self, snapshot: Snapshot, now: datetime) -> Mapping[str, str]:
        """Return the message of Events about each object that waits for long, by its uid. An operator that may not list them goes on
        without.
        """
        reads: dict[str, _Read] = {}
        for thing, reasons in _waiting(snapshot, now):
            uid = thing.metadata.uid
            last = self._reads.get(uid)
            if last is None or now - last.at >= (READ_EVERY if last.message else ASK_AGAIN):
                message = await self._message_about(thing, reasons)
                # Events are deleted after an hour, and the object may still wait for the same
                last = _Read(now, message or (last.message if last else ""))
            reads[uid] = last
        self._reads = reads
        return {uid: read.message for uid, read in reads.items() if read.message}

    async def _message_about(self, thing: ObjectView, reasons: Iterable[str]) -> str:
        try:
            found = await self._api.events_about(thing)
        except Refused:
            return ""
        return _newest([event for event in found if event.reason in reasons])


def _waiting(snapshot: Snapshot, now: datetime) -> Iterator[tuple[ObjectView, tuple[str, ...]]]:
    """Yield the objects that wait longer than usual, with the reasons of the Events that tell why."""
    for job in waiting.podless(snapshot.jobs.values(), snapshot.pods, now):
        yield job, OF_JOBS
    for pod in snapshot.pods:
        if pods.mounting_for_long(pod, now):
            yield pod, OF_PODS
    claim = snapshot.claim
    if claim is not None and waiting.keeps_waiting(claim, snapshot.pods, now):
        yield claim, OF_CLAIMS


def _newest(events: Iterable[EventView]) -> str:
    """Return the message that says most among those of the same time as the newest one: it names what is missing, or else what
    failed.
    """
    dated = [(event.last_timestamp, _PREFIX.sub("", event.message)) for event in events if event.last_timestamp]
    if not dated:
        return ""
    latest = max(at for at, _ in dated)
    found = [(pods.names_missing(text), not _SUMMARIES.match(text), at, text) for at, text in dated]
    *_, message = max(each for each in found if latest - each[2] <= SAME_TIME)
    return message
