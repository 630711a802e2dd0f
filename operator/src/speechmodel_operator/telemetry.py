"""The metrics that the operator exports. Those of the models follow from their statuses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from speechmodel_api.reasons import severity_of
from speechmodel_api.status import ConditionType, Phase, SpeechModelStatus, StageState, StageStatus
from speechmodel_plan.task import Owner

STEP_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_SECONDS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)
"""Bucket bounds: from a publication to a training of three days."""
REPORTED = (ConditionType.READY, ConditionType.SERVING, ConditionType.RECONCILING, ConditionType.STALLED)
"""Conditions that are metrics."""
ENDED = {StageState.SUCCEEDED: "succeeded", StageState.WAITING: "retried", StageState.FAILED: "failed"}


@dataclass(frozen=True, slots=True)
class _Seen:
    """The part of a model's last status that is exported. Thousands of whole statuses would take too much memory."""

    owner: Owner
    phase: Phase | None
    conditions: tuple[tuple[str, str, bool], ...]
    """Type, reason, and whether it is True."""
    failed: tuple[tuple[str, str], ...]
    """Stage and reason."""
    wer: tuple[str, float] | None
    """The version to serve and its word error rate."""
    ready_replicas: int | None


class Telemetry(Collector):
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._models: dict[tuple[str, str], _Seen] = {}
        """Models by namespace and name, the labels of the series, so that one that is created again has one series."""
        self._stages = Histogram(
            "speechmodel_stage_seconds",
            "Time from the creation of a stage's run to its end, by outcome: succeeded, retried or failed.",
            ["stage", "outcome"],
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "speechmodel_reconcile_seconds",
            "Time of a step of one model, by outcome: done, conflict or failed.",
            ["outcome"],
            buckets=STEP_SECONDS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "speechmodel_reconcile_queue_seconds",
            "Time from the first event about a model to the step that it causes.",
            buckets=STEP_SECONDS,
            registry=self.registry,
        )
        self._calls = Counter(
            "speechmodel_api_calls",
            "Calls to the API server by verb and status code; code 0 is a call without an answer, or a watch that broke.",
            ["verb", "code"],
            registry=self.registry,
        )
        self._failures = Counter(
            "speechmodel_steps_failed",
            "Steps that failed, by the reason in the condition Ready.",
            ["reason"],
            registry=self.registry,
        )
        self._missing = Gauge(
            "speechmodel_definition_missing_fields",
            "Fields that the operator knows and the CustomResourceDefinition in the cluster lacks.",
            registry=self.registry,
        )
        self._unwatched = Gauge(
            "speechmodel_watch_failing",
            "1 if the operator cannot list or watch a kind in a namespace, or in all (*), or if three connections in a row broke; else 0.",
            ["namespace", "resource"],
            registry=self.registry,
        )
        self._policies = Gauge(
            "speechmodel_network_policies_failing",
            "Namespaces in which the operator could not apply its NetworkPolicies.",
            registry=self.registry,
        )
        self._upgrades = Gauge(
            "speechmodel_upgrades",
            "Deployments of servers that an upgrade of the operator changes, by state: rolling_out or waiting.",
            ["state"],
            registry=self.registry,
        )
        self._leading = Gauge(
            "speechmodel_leading",
            "1 if this operator does the work: it holds the Lease, or needs none. 0 if it waits.",
            registry=self.registry,
        )
        self.registry.register(self)

    def called(self, verb: str, code: int) -> None:
        """Count a call to the API server."""
        self._calls.labels(verb, str(code)).inc()

    def stepped(self, outcome: str, seconds: float) -> None:
        """Count a step of a model."""
        self._steps.labels(outcome).observe(seconds)

    def failed(self, reason: str) -> None:
        """Count a step that failed."""
        self._failures.labels(reason).inc()

    def waited(self, seconds: float) -> None:
        """Count the time between an event and its step."""
        self._waits.observe(seconds)

    def definition_lacks(self, fields: int) -> None:
        """Set the number of fields that the CustomResourceDefinition lacks."""
        self._missing.set(fields)

    def policies_failing(self, namespaces: int) -> None:
        """Set the number of namespaces in which the NetworkPolicies could not be applied."""
        self._policies.set(namespaces)

    def upgrading(self, *, going_on: int, waiting: int) -> None:
        """Set the number of Deployments that an upgrade of the operator replaces now, and of those that wait."""
        self._upgrades.labels("rolling_out").set(going_on)
        self._upgrades.labels("waiting").set(waiting)

    def lead(self, *, leading: bool) -> None:
        """Set whether this operator does the work."""
        self._leading.set(leading)

    def watched(self, namespace: str, plural: str, *, failing: bool) -> None:
        """Set the state of a watch. Without a namespace, it is one of all."""
        self._unwatched.labels(namespace or "*", plural).set(failing)

    def reported(
        self,
        owner: Owner,
        before: SpeechModelStatus,
        after: SpeechModelStatus,
        recorded: Iterable[StageStatus] = (),
    ) -> None:
        """Take over a status, and count the runs that ended with it.

        `recorded` has the stages between the two: a run that ended may be followed by another one already.
        """
        place = owner.namespace, owner.name
        known = self._models.get(place)
        if before == after and known is not None and known.owner == owner:
            return
        self._models[place] = _seen(owner, after)
        newest = {stage.name: stage for stage in before.stages}
        for stage in (*recorded, *after.stages):
            if (outcome := _ended(newest.get(stage.name), stage)) and stage.started_at and stage.finished_at:
                seconds = (stage.finished_at - stage.started_at).total_seconds()
                self._stages.labels(stage.name.value, outcome).observe(seconds)
            newest[stage.name] = stage

    def forget(self, owner: Owner) -> None:
        """Drop the series of a model that is gone."""
        place = owner.namespace, owner.name
        if place in self._models and self._models[place].owner == owner:
            del self._models[place]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the models. prometheus_client calls this for every scrape, in a thread of its own."""
        return _families(tuple(self._models.values()))

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, so that a scrape can ask for them by name."""
        return _families(())


def _families(models: Sequence[_Seen]) -> Iterable[Metric]:
    phases = GaugeMetricFamily("speechmodel_models", "SpeechModels by phase.", labels=["phase"])
    for phase in Phase:
        phases.add_metric([phase.value], sum(seen.phase is phase for seen in models))
    names = ["namespace", "model"]
    condition = GaugeMetricFamily(
        "speechmodel_condition",
        "1 if a condition of a SpeechModel is True, else 0. Reconciling and Stalled are present only while they are True.",
        labels=[*names, "type", "reason", "severity"],
    )
    wer = GaugeMetricFamily("speechmodel_wer", "Word error rate of the version to serve.", labels=[*names, "version"])
    stages = GaugeMetricFamily(
        "speechmodel_stage_failed",
        "1 for each stage that failed and waits for an edit or a retry.",
        labels=[*names, "stage", "reason"],
    )
    replicas = GaugeMetricFamily("speechmodel_ready_replicas", "Servers that are ready.", labels=names)
    for seen in models:
        place = [seen.owner.namespace, seen.owner.name]
        for kind, reason, true in seen.conditions:
            condition.add_metric([*place, kind, reason, severity_of(reason).value], float(true))
        for stage, reason in seen.failed:
            stages.add_metric([*place, stage, reason], 1)
        if seen.wer is not None:
            version, rate = seen.wer
            wer.add_metric([*place, version], rate)
        if seen.ready_replicas is not None:
            replicas.add_metric(place, seen.ready_replicas)
    return (phases, condition, stages, wer, replicas)


def _seen(owner: Owner, status: SpeechModelStatus) -> _Seen:
    conditions = (status.condition(kind) for kind in REPORTED)
    return _Seen(
        owner,
        status.phase,
        tuple((str(found.type), found.reason, found.status == "True") for found in conditions if found),
        tuple((each.name.value, each.reason or "") for each in status.stages if each.state is StageState.FAILED),
        (status.model.version, status.model.wer) if status.model and status.model.wer is not None else None,
        status.serving.ready_replicas if status.serving else None,
    )


def _ended(before: StageStatus | None, after: StageStatus) -> str | None:
    """Return the outcome of a run that ended between two statuses."""
    outcome = ENDED.get(after.state)
    same = before is not None and (before.key, before.attempt, before.state) == (after.key, after.attempt, after.state)
    return None if same or after.finished_at is None else outcome
