"""The progress of a lineage: `state.json` of a checkpoint, beside its tensors."""

from typing import Literal, Self

from pydantic import Field
from speechmodel_api.base import Document
from speechmodel_api.training_spec import EarlyStop, ReduceOnPlateau

from speechmodel_training.epochs import EpochRecord
from speechmodel_training.network import Geometry
from speechmodel_training.patience import Patience
from speechmodel_training.schedule import Segment


class LineageFacts(Document):
    """The facts that checkpoints must share to continue each other.

    A difference means that folders were mixed up.
    """

    hidden_units: int
    layer_norm: bool = False
    alphabet: tuple[str, ...]
    seed: int
    dataset_digest: str

    @property
    def geometry(self) -> Geometry:
        """Geometry of the network."""
        return Geometry(self.hidden_units, len(self.alphabet), self.layer_norm)

    def differences(self, other: "LineageFacts") -> list[str]:
        """Return a sentence for every field that differs, with the value of `other` (the
        checkpoint) and this one.
        """
        return [
            f"{field} was {theirs} and is now {ours}"
            for field in type(self).model_fields
            if (ours := getattr(self, field)) != (theirs := getattr(other, field))
        ]


class RunningEpoch(Document):
    """The part of an epoch that was trained since the last one was finished."""

    segments: tuple[Segment, ...] = ()
    clips: int = 0
    """Clips trained on."""
    loss_sum: float = 0.0
    """Sum of their losses."""
    seconds: float = 0.0


class TrainingState(Document):
    """The progress of a lineage. It is immutable: every step gives a new one."""

    version: Literal[1] = 1
    facts: LineageFacts
    attempt: int
    """The attempt that wrote it."""
    target: str
    """Key of the train stage that it was last trained for."""
    target_began: int = 0
    """Finished epochs at the start of the training for that key."""
    epoch: int = Field(default=0, ge=0)
    """Finished epochs."""
    step: int = Field(default=0, ge=0)
    """Optimizer steps."""
    running: RunningEpoch = RunningEpoch()
    early_stop: Patience = Patience()
    plateau: Patience = Patience()
    reductions: int = 0
    """Times that the learning rate was reduced on a plateau of the dev loss."""
    dev_augmentation: str | None = None
    """Digest of the augmentation of the dev clips: losses with another one do not compare. None in a checkpoint of an
    earlier release, which did not record it: its losses compare as long as the target is the same."""
    rated_from: int = 0
    """Number of finished epochs whose dev losses no longer count, because the augmentation has changed since."""
    history: tuple[EpochRecord, ...] = ()
    """Known epochs. Those before an upstream checkpoint was taken over are missing."""

    @property
    def dev_loss(self) -> float | None:
        """Dev loss of exactly these weights; None within an epoch and without dev clips."""
        at_epoch_end = bool(self.history) and self.history[-1].step == self.step and not self.running.clips
        return self.history[-1].dev_loss if at_epoch_end else None

    @property
    def best_dev_loss(self) -> float | None:
        """Lowest dev loss of the epochs with the present augmentation; None before the first of them, and without dev clips."""
        rated = (record.dev_loss for record in self.history if record.epoch > self.rated_from)
        return min((loss for loss in rated if loss is not None), default=None)

    def stops_early(self, early_stop: EarlyStop | None) -> bool:
        """Return True when the dev loss has not improved for as long as `early_stop` waits."""
        return early_stop is not None and self.early_stop.epochs >= early_stop.patience

    def towards(self, target: str, attempt: int, dev_augmentation: str) -> Self:
        """Return the state in which `attempt` continues for the train key `target`, with this augmentation of dev clips.

        For another key, the patience of early stop and plateau begins again. With another augmentation, the lowest dev
        loss is forgotten too.
        """
        state = self.model_copy(update={"attempt": attempt, "dev_augmentation": dev_augmentation})
        if target != self.target:
            waiting = {"early_stop": self.early_stop.again(), "plateau": self.plateau.again()}
            state = state.model_copy(update={"target": target, "target_began": self.epoch, **waiting})
        unknown = self.dev_augmentation is None and target == self.target
        if self.dev_augmentation != dev_augmentation and not unknown:
            forgotten = {"early_stop": Patience(), "plateau": Patience()}
            state = state.model_copy(update={"rated_from": self.epoch, **forgotten})
        return state

    def trained_for(self, target: str) -> int:
        """Return the epochs that all attempts together trained for the train key `target`."""
        return self.epoch - self.target_began if target == self.target else 0

    def divided_as(self, segment: Segment) -> Self:
        """Return the state in which the rest of this epoch is divided as in `segment`, which has no
        batches done.
        """
        segments = self.running.segments
        if segments and segments[-1].divides_as(segment):
            return self
        begun = tuple(segment for segment in segments if segment.batches_done)
        return self._running(segments=(*begun, segment))

    def after_batch(self, clips: int) -> Self:
        """Return the state after one more optimizer step on `clips` clips."""
        *before, last = self.running.segments
        last = last.model_copy(update={"batches_done": last.batches_done + 1})
        state = self._running(segments=(*before, last), clips=self.running.clips + clips)
        return state.model_copy(update={"step": self.step + 1})

    def after_epoch(
        self,
        *,
        dev_loss: float | None,
        dev_wer: float | None = None,
        learning_rate: float | None = None,
        early_stop: EarlyStop | None = None,
        plateau: ReduceOnPlateau | None = None,
    ) -> Self:
        """Return the state in which the running epoch is finished and part of the history."""
        running = self.running
        record = EpochRecord(
            epoch=self.epoch + 1,
            step=self.step,
            loss=running.loss_sum / running.clips,
            dev_loss=dev_loss,
            seconds=round(running.seconds, 3),
            clips_per_second=round(running.clips / max(running.seconds, 1e-3), 1),
            learning_rate=learning_rate,
            dev_wer=dev_wer,
        )
        changes: dict[str, object] = {}
        if early_stop:
            changes["early_stop"] = self.early_stop.after(dev_loss, early_stop.min_delta)
        if plateau:
            waited = self.plateau.after(dev_loss, plateau.min_delta)
            if waited.epochs >= plateau.patience:
                waited, changes["reductions"] = waited.again(), self.reductions + 1
            changes["plateau"] = waited
        return self.model_copy(
            update={"epoch": record.epoch, "running": RunningEpoch(), "history": (*self.history, record), **changes}
        )

    def measured(self, *, loss_sum: float, seconds: float) -> Self:
        """Return the state with the loss and the seconds of the running epoch, which only the
        trainer knows.
        """
        return self._running(loss_sum=loss_sum, seconds=seconds)

    def _running(self, **changes: object) -> Self:
        return self.model_copy(update={"running": self.running.model_copy(update=changes)})
