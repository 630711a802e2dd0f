"""Everything that planning, the operator and the command know about one stage."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Target
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageInput, StageName
from speechmodel_api.status import ConditionType, ModelStatus

from speechmodel_plan.task import Task, negatives_bucket

OutputT = TypeVar("OutputT", bound=Document)


class Image(Enum):
    """The image that a stage program runs in."""

    PIPELINE = "pipeline"
    TRAINING = "training"
    COQUI = "coqui"


@dataclass(frozen=True)
class Needs:
    """Resources of a stage's pod beyond the workspace, which every stage mounts."""

    dataset: bool = False
    """The user's recordings, read-only if they are on a claim."""
    negatives: bool = False
    """The recordings of dataset.negatives.source, read-only if they are on a claim."""
    checkpoint: bool = False
    """The checkpoint of training.initFrom, read-only if it is on a claim."""
    accelerator: bool = False
    """The CPUs, memory and GPUs of training.podTemplate.resources."""


class Stage(ABC, Generic[OutputT]):
    """One stage."""

    name: ClassVar[StageName]
    reads: ClassVar[tuple[StageName, ...]] = ()
    """Stages whose workspace files this stage reads, if they are wanted, in the order in which they run."""
    program: ClassVar[str]
    """Module of the stage program; see program_for."""
    image: ClassVar[Image] = Image.PIPELINE
    needs: ClassVar[Needs] = Needs()
    running: ClassVar[Reason]
    """Reason and phase while the stage runs."""
    awaited: ClassVar[Reason]
    """Reason of a later stage's condition while this stage is unfinished."""
    condition: ClassVar[ConditionType]
    """Condition that the stage belongs to."""
    complete: ClassVar[Reason]
    """The condition's reason once all of its stages have succeeded."""
    output_type: type[OutputT]

    def wanted(self, task: Task, done: "Outputs") -> bool:
        """Return True if the spec asks for the stage, once the stages before it have finished."""
        del task, done
        return True

    @abstractmethod
    def key(self, task: Task, done: "Outputs") -> str:
        """Return the key that the spec asks for, once the stages before it have finished."""

    @abstractmethod
    def document(self, task: Task, attempt: int, done: "Outputs") -> StageInput:
        """Return the input document, once the stages before it have finished."""

    @abstractmethod
    def summary(self, output: OutputT) -> str:
        """Return one sentence about the output, for the condition and the terminal."""

    def for_task(self, output: OutputT, task: Task) -> OutputT:
        """Return a recorded output without what it says about an earlier spec."""
        del task
        return output

    def succeeded(self, output: OutputT) -> Reason:
        """Return the condition's reason when this is the last of its stages and it gave `output`."""
        del output
        return self.complete

    def program_for(self, spec: SpeechModelSpec) -> tuple[str, Image]:
        """Return the module of the program that runs the stage, and the image that has it."""
        del spec
        return self.program, self.image

    def bucket(self, spec: SpeechModelSpec, served: ModelStatus | None = None) -> S3Target | None:
        """Return the bucket whose credentials the program receives as environment variables. `served` is the version
        that is served.
        """
        del spec, served
        return None

    def negatives_bucket(self, spec: SpeechModelSpec) -> S3Target | None:
        """Return the bucket of other speech, whose credentials the program receives in variables of other names
        (credentials.NEGATIVES).
        """
        return negatives_bucket(spec) if self.needs.negatives else None

    def reads_dataset(self, spec: SpeechModelSpec) -> bool:
        """Return True if the stage reads the user's recordings or what lies beside them."""
        del spec
        return self.needs.dataset

    def workers(self, spec: SpeechModelSpec) -> int:
        """Return the number of programs that a run consists of."""
        del spec
        return 1

    def settings(self, spec: SpeechModelSpec) -> dict[str, Any]:
        """Return the fields outside the key that a running attempt is restarted for, by name: by default the region
        and the Secret that grant access to each bucket.
        """
        buckets = {"s3": self.bucket(spec), "negatives": self.negatives_bucket(spec)}
        return {name: [s3.region, s3.secret_ref.name if s3.secret_ref else None] for name, s3 in buckets.items() if s3}

    def parse(self, output: Mapping[str, Any] | None) -> OutputT | None:
        """Return a recorded output, or None when there is none or it cannot be read."""
        try:
            return self.output_type.model_validate(output) if output is not None else None
        except ValidationError:
            return None


class Outputs:
    """The outputs of the stages that have finished for the current spec."""

    def __init__(self, by_stage: Mapping[StageName, Document] | None = None) -> None:
        self._by_stage = dict(by_stage or {})

    def plus(self, stage: Stage[Any], output: Document) -> "Outputs":
        """Return the outputs with one more."""
        return Outputs({**self._by_stage, stage.name: output})

    def __contains__(self, stage: Stage[Any]) -> bool:
        return stage.name in self._by_stage

    def of(self, stage: Stage[OutputT]) -> OutputT:
        """Return the output of a finished stage. Raises LookupError when it has not finished."""
        if stage not in self:
            raise LookupError(f"the stage {stage.name} has not finished")
        output = self._by_stage[stage.name]
        assert isinstance(output, stage.output_type)
        return output
