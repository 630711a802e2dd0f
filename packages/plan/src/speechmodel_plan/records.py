"""Records: the newest run of each stage, in the form that planning works with.

StageStatus is the same on the wire. Records are never edited: a step makes new ones with `dataclasses.replace`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import SpeechModelStatus, StageState, StageStatus

from speechmodel_plan.messages import in_status
from speechmodel_plan.observed import Trouble


@dataclass(frozen=True)
class StageRecord:
    """The newest run of a stage."""

    stage: StageName
    key: str
    state: StageState
    attempt: int
    run: str | None
    """Name of the Job or local run."""
    settings: str
    """Hash of the settings that the run was created with."""
    failures: int = 0
    """Failures in a row without an epoch gained."""
    image_failures: int = 0
    """Attempts in a row whose image could not be pulled."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    retry_token: str | None = None
    """The retry annotation's value when the run was created."""
    active_seconds: int | None = None
    """Running time of all finished attempts for this key."""
    pod_seconds: int | None = None
    """The same, that of each attempt times its workers."""
    epoch: int | None = None
    """Finished epochs when the failures were last counted from zero."""
    trouble: Trouble | None = None
    claim_uid: str | None = None
    """The workspace claim that holds the output's files."""
    output: Mapping[str, Any] | None = None
    """The output document as the stage program wrote it."""
    recorded: StageStatus | None = field(default=None, compare=False, repr=False)
    """The status that it, or the record that it was made of, was read from."""

    @property
    def unpulled(self) -> Trouble | None:
        """The trouble of an image that the attempts before could not pull."""
        if self.image_failures and self.trouble and self.trouble.reason == Reason.IMAGE_PULL_FAILED:
            return self.trouble
        return None

    @classmethod
    def from_status(cls, status: StageStatus) -> Self:
        """Return the record of a stage's status."""
        return cls(
            stage=status.name,
            key=status.key,
            state=status.state,
            attempt=status.attempt,
            run=status.job,
            settings=status.settings or "",
            failures=status.failures,
            image_failures=status.image_failures or 0,
            started_at=status.started_at,
            finished_at=status.finished_at,
            retry_at=status.retry_at,
            retry_token=status.retry_token,
            active_seconds=status.active_seconds,
            pod_seconds=status.pod_seconds,
            epoch=status.epoch,
            trouble=Trouble(status.reason, status.message or "") if status.reason else None,
            claim_uid=status.claim_uid,
            output=status.output,
            recorded=status,
        )

    def to_status(self) -> StageStatus:
        """Return the record as the status shows it: the status that it was read from unless something has changed."""
        if self.recorded is not None and self == self.from_status(self.recorded):
            return self.recorded
        return StageStatus(
            name=self.stage,
            key=self.key,
            state=self.state,
            attempt=self.attempt,
            job=self.run,
            settings=self.settings,
            failures=self.failures,
            image_failures=self.image_failures or None,
            started_at=self.started_at,
            finished_at=self.finished_at,
            retry_at=self.retry_at,
            retry_token=self.retry_token,
            active_seconds=self.active_seconds,
            pod_seconds=self.pod_seconds,
            epoch=self.epoch,
            reason=self.trouble.reason if self.trouble else None,
            message=in_status(self.trouble.message) if self.trouble else None,
            claim_uid=self.claim_uid,
            output=dict(self.output) if self.output is not None else None,
        )


@dataclass(frozen=True)
class Records:
    """At most one record for each stage."""

    by_stage: Mapping[StageName, StageRecord]

    @classmethod
    def of(cls, records: Iterable[StageRecord]) -> Self:
        """Return these records, in the order in which stages run."""
        found = {record.stage: record for record in records}
        return cls({stage: found[stage] for stage in StageName if stage in found})

    @classmethod
    def from_status(cls, status: SpeechModelStatus) -> Self:
        """Return the records of a SpeechModel's status."""
        return cls.of(StageRecord.from_status(stage) for stage in status.stages)

    def __iter__(self) -> Iterator[StageRecord]:
        return iter(self.by_stage.values())

    def get(self, stage: StageName) -> StageRecord | None:
        """Return a stage's record, or None when it never ran."""
        return self.by_stage.get(stage)

    def plus(self, *records: StageRecord) -> "Records":
        """Return the records with these in place of the stages' earlier ones."""
        return Records.of((*self, *records))

    def without(self, stage: StageName) -> "Records":
        """Return the records of the other stages."""
        return Records.of(record for record in self if record.stage is not stage)
