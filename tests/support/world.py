"""A world without a cluster: it keeps what a plan asks for, and tests say what becomes of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from speechmodel_api.base import Document
from speechmodel_api.learning import LearningSettings
from speechmodel_api.phrase_network import PublishedPhrases
from speechmodel_api.progress import TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageError, StageInput, StageName, StageResult
from speechmodel_api.stages.convert import ConvertInput, ConvertOutput
from speechmodel_api.stages.decoders import Calibration, GrammarDecoder, UnusableWords
from speechmodel_api.stages.evaluate import CompareInput, CompareOutput, EvaluateInput, EvaluateOutput, GrammarFigures
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.publish import PublishInput, PublishOutput
from speechmodel_api.stages.train import DownloadOutput, TrainOutput
from speechmodel_api.status import Condition, SpeechModelStatus, StageStatus
from speechmodel_api.tflite import PublishedTflite, TfliteFile
from speechmodel_operator.resources.pod import settings_hashes
from speechmodel_plan.observed import ALIVE, CanaryServers, Claim, Observed, Purge, Run, RunState, Server
from speechmodel_plan.plan import Done, Plan, Report, StageRun
from speechmodel_plan.reconcile import make_plan
from speechmodel_plan.task import Owner

SPEC: dict[str, Any] = {
    "language": "es",
    "dataset": {"source": {"persistentVolumeClaim": {"claimName": "clips"}}},
    "training": {"maxEpochs": 10},
    "publish": {"s3": {"bucket": "models", "secretRef": {"name": "s3"}}},
    "serving": {},
}


OWNER = Owner("speech", "espejo", "uid-1")


def digest(text: str) -> str:
    """A sha256-like value."""
    return text.encode().hex().ljust(64, "0")[:64]


def output_of(
    document: StageInput, data: str, wer: float | None = 0.1, accepted: int | None = None, *, phrases: bool = False
) -> Document:
    """Return the output that a stage would give, with `phrases` that of a trainer that makes a phrase network."""
    match document.stage:  # type: ignore[attr-defined]
        case StageName.PREPARE:
            return PrepareOutput(
                dataset_digest=digest(data),
                alphabet_digest=digest("abc"),
                labels=3,
                train_clips=8,
                dev_clips=1,
                test_clips=1,
                audio_seconds=12,
            )
        case StageName.DOWNLOAD:
            return DownloadOutput(objects=3, size_bytes=5_000_000, listing_digest=digest("l"))
        case StageName.TRAIN:
            epochs = document.max_epochs  # type: ignore[attr-defined]
            return TrainOutput(
                epoch=epochs,
                step=80,
                loss=0.5,
                exported_epoch=epochs,
                trained_epochs=epochs,
                graph_sha256=digest(f"{data}{epochs}"),
                graph_bytes=99,
                phrase_head_sha256=digest("h") if phrases else None,
            )
        case StageName.CONVERT:
            assert isinstance(document, ConvertInput)
            return ConvertOutput(
                model_sha256=digest("m" + document.graph_sha256[:20]),
                size_bytes=100,
                phrases_sha256=digest("p") if document.phrase_head_sha256 else None,
                tflite=TfliteFile(sha256=digest("t"), size_bytes=2_500_000) if document.tflite else None,
            )
        case StageName.EVALUATE:
            assert isinstance(document, EvaluateInput)
            figures = None
            if accepted is not None:
                figures = GrammarFigures(right=8, wrong=1, rejected=1, foreign=10, accepted=accepted)
            return EvaluateOutput(
                clips=10,
                wer=wer,
                cer=0.05,
                figures=figures,
                grammar=_decoder(document.phrases_sha256) if document.phrases_sha256 else None,
                report_sha256=digest("r"),
                selftest_sha256=digest("s"),
            )
        case StageName.COMPARE:
            assert isinstance(document, CompareInput)
            return CompareOutput(version=document.version, version_sha256=document.version_sha256, clips=10, wer=0.3)
        case _:
            assert isinstance(document, PublishInput)
            uri = f"s3://models/{document.base}/{document.model_sha256}"
            return PublishOutput(
                version=document.version,
                uri=f"{uri}/output_graph.pbmm",
                version_uri=f"{uri}/{document.version}/version.json",
                version_sha256=digest("v"),
                signed_by=digest("k") if document.public_keys else None,
                tflite=PublishedTflite(**document.tflite.model_dump(), uri="s3://t") if document.tflite else None,
                phrases=PublishedPhrases(sha256=document.grammar.acoustic_sha256, size_bytes=7, uri="s3://p")
                if document.grammar
                else None,
            )


def _decoder(phrases_sha256: str) -> GrammarDecoder:
    calibration = Calibration(threshold=-1, offset=0, slope=1, word_offset=0, word_slope=1)
    return GrammarDecoder(
        acoustic_sha256=phrases_sha256, grammar_sha256=digest("g"), calibration=calibration, embedded=True
    )


@dataclass
class World:
    """One SpeechModel and everything around it."""

    spec: dict[str, Any] = field(default_factory=lambda: _copy(SPEC))
    status: SpeechModelStatus = field(default_factory=SpeechModelStatus)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    runs: dict[str, Run] = field(default_factory=dict)
    documents: dict[str, StageInput] = field(default_factory=dict)
    stage_runs: dict[str, StageRun] = field(default_factory=dict)
    claim: Claim | None = None
    server: Server | None = None
    canary: CanaryServers | None = None
    purge: Purge | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    deleted_at: datetime | None = None
    finalizer: bool = False
    interrupted: bool = False
    unusable_words: UnusableWords | None = None
    """Phrases that prepare finds that no model of the dataset can say."""
    busy: bool = False
    """True while no place is free for servers that an upgrade of the operator changes."""
    started: list[str] = field(default_factory=list)
    data: str = "data"
    wer: float | None = 0.1
    """Word error rate that evaluate measures. That of compare is 0.3."""
    accepted: int | None = None
    """Foreign clips, of 10, that are accepted. None without foreign clips."""
    phrases: bool = False
    """True if the trainer makes a phrase network, which decodes a grammar."""
    writes: int = 0
    owner: Owner = OWNER
    plan: Plan | None = None
    report: Report | None = None

    def observe(self) -> Observed:
        spec = SpeechModelSpec.model_validate(self.spec)
        init_from = spec.training.init_from
        initial = init_from.persistent_volume_claim if init_from else None
        source = spec.dataset.negatives.source
        negatives = source.persistent_volume_claim if source else None
        return Observed(
            owner=self.owner,
            generation=self.generation,
            spec=spec,
            status=self.status,
            now=self.now,
            workspace=PurePosixPath("/workspace", self.owner.name),
            dataset=PurePosixPath("/dataset"),
            init_from=PurePosixPath("/initial", initial.path) if initial else None,
            negatives=PurePosixPath("/negatives", negatives.path) if negatives else None,
            settings=settings_hashes(spec),
            runs=tuple(self.runs.values()),
            claim=self.claim,
            server=self.server,
            canary=self.canary,
            purge=self.purge,
            annotations=self.annotations,
            deleted_at=self.deleted_at,
            finalizer=self.finalizer,
            interrupted=self.interrupted,
        )

    def step(self, seconds: float = 1, *, forget_status: bool = False) -> Plan:
        """One reconciliation; with `forget_status` the operator ends before it could write the status."""
        self.now += timedelta(seconds=seconds)
        plan = self.plan = make_plan(self.observe())
        report = self.report = plan.after(Done(put_off=self._put_off(plan)))
        self.finalizer = report.finalizer
        for run in plan.stop:
            self.runs[run.name] = replace(run, state=RunState.ENDING)
        for run in plan.discard:
            del self.runs[run.name]
        if plan.claim and self.claim is None:
            self.claim = Claim(plan.claim.name, f"claim-{self.now.timestamp()}", plan.claim.owned)
        if plan.start:
            assert not [r for r in self.runs.values() if r.state in ALIVE], "two writers"
            document = plan.start.document
            assert plan.start.name not in self.runs
            self.started.append(f"{plan.start.stage.value}-{document.attempt}")
            self.documents[plan.start.name] = document
            self.stage_runs[plan.start.name] = plan.start
            self.runs[plan.start.name] = Run(
                plan.start.name,
                plan.start.stage,
                document.key,
                document.attempt,
                plan.start.settings,
                RunState.RUNNING,
                self.now,
                workers=plan.start.workers,
                workers_ready=plan.start.workers,
            )
        if plan.keep_servers:
            pass
        elif plan.serving is None:
            self.server = None
        elif self.server is None or self.server.version != plan.serving.model.version:
            self.server = Server(plan.serving.model.version, plan.serving.replicas, 0, settled=False)
        if plan.canary is None:
            self.canary = None
        elif self.canary is None or self.canary.server.version != plan.canary.model.version:
            server = Server(plan.canary.model.version, plan.canary.replicas, 0, settled=False)
            self.canary = CanaryServers(server, frozenset())
        elif self.canary.server.replicas != plan.canary.replicas:
            server = replace(self.canary.server, replicas=plan.canary.replicas, settled=False)
            self.canary = replace(self.canary, server=server)
        if not forget_status and report.status != self.status:
            self.status = report.status
            self.writes += 1
        return plan

    def _put_off(self, plan: Plan) -> bool:
        return self.busy and plan.serving is not None and plan.serving.upgrade_only

    def upgrade(self) -> None:
        """The operator has other images, so it wants another Deployment. The servers are ready as they are."""
        assert self.server is not None
        self.server = replace(self.server, settled=False, complete=False, steady=True)

    def finish(self, **change: Any) -> None:
        """The running stage succeeds, or ends as `change` says."""
        name, run = next((n, r) for n, r in self.runs.items() if r.state is RunState.RUNNING)
        output = output_of(self.documents[name], self.data, self.wer, self.accepted, phrases=self.phrases)
        if isinstance(output, PrepareOutput):
            output = output.model_copy(update={"unusable_words": self.unusable_words})
        result = StageResult[Document](output=output)
        done: dict[str, Any] = {
            "state": RunState.SUCCEEDED,
            "finished_at": self.now,
            "exit_code": 0,
            "result": result.model_dump_json(by_alias=True, serialize_as_any=True),
        }
        self.runs[name] = replace(run, **(done | change))

    def fail(self, code: int, reason: str = "Broken", message: str = "it broke", **change: Any) -> None:
        result = StageResult[Document](error=StageError(reason=reason, message=message)).model_dump_json()
        self.finish(**({"state": RunState.FAILED, "exit_code": code, "result": result} | change))

    def progress(
        self,
        epoch: int,
        settings: LearningSettings | None = None,
        warning: str | None = None,
        ahead: timedelta = timedelta(),
        **figures: float,
    ) -> None:
        """The trainer reports its progress. Its clock may be ahead of ours."""
        name, run = next((n, r) for n, r in self.runs.items() if r.stage is StageName.TRAIN and r.state in ALIVE)
        record = TrainProgress(
            epoch=epoch,
            max_epochs=10,
            settings=settings,
            step=epoch,
            fraction=0,
            warning=warning,
            time=self.now + ahead,
            **figures,
        )
        self.runs[name] = replace(run, progress=record)

    def bury(self) -> None:
        """The pods of deleted Jobs are gone."""
        self.runs = {n: r for n, r in self.runs.items() if r.state is not RunState.ENDING}

    def settle(self) -> None:
        """All replicas are ready."""
        assert self.server is not None
        self.server = replace(self.server, ready_replicas=self.server.replicas, settled=True)

    def until(self, stage: StageName) -> None:
        """Succeed every stage before this one; it is started."""
        for _ in range(40):
            self.step()
            running = [r for r in self.runs.values() if r.state is RunState.RUNNING]
            if running and running[0].stage is stage:
                return
            if running:
                self.finish()
        raise AssertionError(f"{stage} was never started: {self.condition('Ready')}")

    def to_ready(self) -> None:
        """Everything succeeds."""
        for _ in range(40):
            self.step()
            if any(r.state is RunState.RUNNING for r in self.runs.values()):
                self.finish()
            elif self.server is not None and not self.server.settled:
                self.settle()
            elif self.status.in_effect:
                return
        raise AssertionError(f"never ready: {self.condition('Ready')}")

    def to_rest(self) -> None:
        """Everything succeeds, whether or not a version is promoted."""
        for _ in range(40):
            writes = self.writes
            self.step()
            if any(r.state is RunState.RUNNING for r in self.runs.values()):
                self.finish()
            elif self.server is not None and not self.server.settled:
                self.settle()
            elif self.writes == writes:
                return
        raise AssertionError(f"never at rest: {self.condition('Ready')}")

    def edit(self, **spec: Any) -> None:
        """Edit the spec by dotted path, written with __."""
        for path, value in spec.items():
            at = self.spec
            *parents, last = path.split("__")
            for part in parents:
                at = at.setdefault(part, {})
            at[last] = value
        self.generation += 1

    def condition(self, name: str) -> Condition:
        return next(c for c in self.status.conditions if c.type == name)

    def stage(self, stage: StageName) -> StageStatus:
        found = self.status.stage(stage)
        assert found is not None
        return found


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return value
