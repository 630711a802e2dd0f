"""Promotion: which version is served, and why the newest one is or is not.

`serving.pinnedVersion` comes first. Without it, the newest version replaces the served one if it passes `evaluation.gate` and
then `serving.canary`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from speechmodel_api.evaluation_spec import Gate
from speechmodel_api.reasons import Reason
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages.evaluate import EvaluateOutput
from speechmodel_api.status import HISTORY_LENGTH, CanaryState, CanaryStatus, ModelStatus, Promotion

from speechmodel_plan.canary import decided, look_at_canary
from speechmodel_plan.decision import Decision, Idle
from speechmodel_plan.observed import Observed, Trouble
from speechmodel_plan.stages.compare import COMPARE, test_clips
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.publish import PUBLISH
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.stages.train import TRAIN

ROUNDING = 1e-9
"""Difference of two error rates that does not count, because figures are compared as decimal fractions."""


@dataclass(frozen=True)
class Choice:
    """The version to serve, and the decision about the newest one."""

    model: ModelStatus | None
    """Version to serve. None serves nothing."""
    latest: ModelStatus | None
    """Version that was published last."""
    withheld: Trouble | None = None
    """The reason why the newest version is not served. None if it is, and while that is not decided."""
    canary: CanaryStatus | None = None
    """The canary of the newest version while it has servers. Then the version is withheld, and not decided."""


def choose(seen: Observed, decision: Decision) -> Choice:
    """Return the version to serve: until the newest version is decided, the one before it."""
    served, history = seen.status.served, seen.status.history
    built = _built(seen, decision.done) if PUBLISH in decision.done else None
    latest = built or next((entry for entry in history if entry.version == seen.status.latest_version), served)
    if seen.interrupted:  # the local command leaves serving, and with it a pin, out of the spec while it ends
        return Choice(served, latest)
    if seen.spec.serving and (pinned := seen.spec.serving.pinned_version):
        return _pinned(pinned, seen, latest)
    if built is None or not isinstance(decision, Idle):
        return Choice(served, latest, _still_withheld(latest))
    if served is not None and served.version == built.version:
        earlier = served.promotion or Promotion(promoted=True, reason=Reason.PROMOTED, message="it is served already")
        current = _with(built, earlier)
        return Choice(current, current)
    return _gated(seen, decision.done, built)


def extended(history: tuple[ModelStatus, ...], choice: Choice) -> tuple[ModelStatus, ...]:
    """Return the history, the newest version first, also when it was published before and is brought back.

    The served version is never dropped.
    """
    latest, served = choice.latest, choice.model
    if latest is None:
        return history
    found = (latest, *(entry for entry in history if entry.place != latest.place))
    if served is None:
        return found[:HISTORY_LENGTH]
    found = tuple(served if entry.place == served.place else entry for entry in found)
    kept = found[:HISTORY_LENGTH]
    return kept if served in kept else (*kept[: HISTORY_LENGTH - 1], served)


def _still_withheld(latest: ModelStatus | None) -> Trouble | None:
    """Return why the newest version is not served, while the next one is made."""
    verdict = latest.promotion if latest else None
    if latest is None or verdict is None or verdict.promoted:
        return None
    if verdict.reason == Reason.PROMOTION_HELD:
        message = (
            f"serving.pinnedVersion held version {latest.version}; the next version is decided once it is published"
        )
        return Trouble(Reason.PROMOTION_HELD, message)
    return Trouble(verdict.reason, verdict.message)


def _pinned(pinned: str, seen: Observed, latest: ModelStatus | None) -> Choice:
    served = seen.status.served
    known = [version for version in (latest, served, *seen.status.history) if version is not None]
    found = next((version for version in known if version.version == pinned), None)
    if found is None:
        versions = ", ".join(dict.fromkeys(version.version for version in known)) or "none yet"
        message = f"serving.pinnedVersion {pinned} is not in status.history ({versions}), so {_goes_on(seen)}; correct or remove it"
        return Choice(served, latest, Trouble(Reason.UNKNOWN_VERSION, message))
    if found.promotion is None or not found.promotion.promoted:
        found = _with(found, Promotion(promoted=True, reason=Reason.PROMOTED, message="serving.pinnedVersion names it"))
    if latest is None or latest.version == pinned:
        return Choice(found, found)
    message = f"version {latest.version} is published, but serving.pinnedVersion holds {pinned}; remove it to promote"
    held = Promotion(promoted=False, reason=Reason.PROMOTION_HELD, message=message)
    return Choice(found, _with(latest, held), Trouble(Reason.PROMOTION_HELD, message))


def _gated(seen: Observed, done: Outputs, built: ModelStatus) -> Choice:
    gate, served = seen.spec.evaluation.gate, seen.status.served
    if gate is None:
        passed = "spec.evaluation.gate is not set"
    else:
        failures = tuple(_failures(gate, built, served, done, seen))
        if failures:
            failed = "; ".join(failure.message for failure in failures)
            remedies = "; ".join(dict.fromkeys(failure.remedy for failure in failures))
            message = f"version {built.version} is not promoted, so {_goes_on(seen)}: {failed}; {remedies}"
            verdict = Promotion(promoted=False, reason=Reason.QUALITY_GATE_FAILED, message=message)
            return Choice(served, _with(built, verdict), Trouble(Reason.QUALITY_GATE_FAILED, message))
        passed = f"it passed evaluation.gate with {_figures(built)}"
    return _tried(seen, built, passed)


def _goes_on(seen: Observed) -> str:
    """Return what is served while the newest version is not. The status may have lost it."""
    served = seen.status.served.version if seen.status.served else seen.server and seen.server.version
    return f"version {served} is still served" if served else "nothing is served"


def _tried(seen: Observed, built: ModelStatus, passed: str) -> Choice:
    """Return the choice for a version that passed the gate: it is promoted at once, or tried on a share of the requests.

    A canary that has begun is not forgotten while there are 0 servers: one that failed withholds its version, and one that runs
    waits.
    """
    settings, served = seen.spec.serving.canary if seen.spec.serving else None, seen.status.served
    begun = seen.status.canary is not None and seen.status.canary.version == built.version
    possible = seen.server is None or seen.server.replicas > 0
    if settings is not None and served is not None and (begun or possible):
        canary = decided(seen, settings, built.version)
        if canary is None:
            trial, undecided = (
                look_at_canary(seen, settings, built.version),
                built.model_copy(update={"promotion": None}),
            )
            return Choice(served, undecided, trial.waits_for, trial.status)
        if canary.state is CanaryState.FAILED:
            message = canary.message or ""
            verdict = Promotion(promoted=False, reason=Reason.CANARY_FAILED, message=message)
            return Choice(served, _with(built, verdict), Trouble(Reason.CANARY_FAILED, message))
        passed = f"{passed}; {canary.message}"
    promoted = _with(built, Promotion(promoted=True, reason=Reason.PROMOTED, message=passed))
    return Choice(promoted, promoted)


@dataclass(frozen=True)
class _Failure:
    """A limit that is not kept."""

    message: str
    """A sentence with both figures."""
    remedy: str = "add recordings or train longer, or edit evaluation.gate"


def _failures(
    gate: Gate, built: ModelStatus, served: ModelStatus | None, done: Outputs, seen: Observed
) -> Iterator[_Failure]:
    """Yield each limit that is not kept."""
    wer, accepted = built.wer, built.false_accepts
    unknown = seen.server.version if seen.server and served is None and seen.server.version != built.version else None
    if gate.not_worse_than_serving and unknown:
        yield _Failure(
            f"version {unknown} is served, and the status has lost its figures, so they cannot be compared",
            f"set serving.pinnedVersion to {built.version}, or remove gate.notWorseThanServing",
        )
    if wer is None and (gate.max_wer is not None or (gate.not_worse_than_serving and served)):
        yield _Failure("its WER was not measured, because there are no test clips (raise dataset.split.testPercent)")
    if wer is not None and gate.max_wer is not None and wer > gate.max_wer + ROUNDING:
        yield _Failure(f"its WER {wer:.1%} is above maxWER {gate.max_wer:.1%}")
    if gate.max_false_accept is not None and accepted is None:
        yield _Failure(
            "its false accepts were not measured, because there are no foreign test clips or it does not reject "
            "(see dataset.negatives and decoding.foreignSpeech)"
        )
    if gate.max_false_accept is not None and accepted is not None and accepted > gate.max_false_accept + ROUNDING:
        limit = f"maxFalseAccept {gate.max_false_accept:.1%}"
        yield _Failure(f"it accepts {accepted:.1%} of foreign speech, which is above {limit}")
    if served is None or gate.not_worse_than_serving is None or wer is None:
        return
    margin, before = gate.not_worse_than_serving.margin, _measured(seen, served, done)
    if before is None:
        yield _Failure(f"version {served.version} was not measured on the same clips, because there are none")
    elif wer > before + margin + ROUNDING:
        allowed = f", and the margin is {margin:.1%}" if margin else ""
        clips = done.of(EVALUATE).clips
        figures = f"its WER {wer:.1%} is above {before:.1%} of version {served.version}"
        yield _Failure(f"{figures} on the same {clips} clips{allowed}")


def _measured(seen: Observed, served: ModelStatus, done: Outputs) -> float | None:
    """Return the WER of the served version on the test clips of the new one."""
    if served.test_clips == test_clips(seen.task, done):
        return served.wer
    return done.of(COMPARE).wer


def _figures(built: ModelStatus) -> str:
    wer = "no WER" if built.wer is None else f"WER {built.wer:.1%}"
    return wer if built.false_accepts is None else f"{wer} and false accepts {built.false_accepts:.1%}"


def _built(seen: Observed, done: Outputs) -> ModelStatus:
    """Return the version that the stages made for the current spec."""
    published, converted, evaluated = done.of(PUBLISH), done.of(CONVERT), done.of(EVALUATE)
    s3, figures = seen.spec.publish.s3, evaluated.figures
    confident = evaluated.confidence or figures
    place = (published.version_uri, s3.endpoint)
    known = next((m for m in (seen.status.served, *seen.status.history) if m and m.place == place), None)
    return ModelStatus(
        version=published.version,
        wer=rounded(evaluated.wer),
        cer=rounded(evaluated.cer),
        wer_unseen_speakers=evaluated.wer_unseen_speakers,
        wer_seen_speakers=evaluated.wer_seen_speakers,
        free_text_wer=rounded(evaluated.free_text_wer),
        rejected=_share(figures.rejected, figures.phrases) if figures else None,
        false_accepts=_share(figures.accepted, figures.foreign) if figures else None,
        false_accepts_recorded=_share(figures.recorded_accepted or 0, figures.recorded or 0) if figures else None,
        calibration_error=rounded(confident.calibration_error) if confident else None,
        uri=published.uri,
        sha256=converted.model_sha256,
        size_bytes=converted.size_bytes,
        tflite=published.tflite,
        phrases=published.phrases,
        version_uri=published.version_uri,
        version_sha256=published.version_sha256,
        signed_by=published.signed_by,
        report=published.page_uri,
        endpoint=s3.endpoint,
        region=s3.region,
        secret_name=s3.secret_ref.name if s3.secret_ref else None,
        published_at=known.published_at if known else seen.now,
        data_digest=done.of(PREPARE).dataset_digest,
        test_clips=test_clips(seen.task, done),
        epochs=done.of(TRAIN).epoch,
        # servers of a version from before it was recorded are not replaced for it
        arm64_engines=known.arm64_engines if known else _arm64_engines(evaluated),
        promotion=known.promotion if known else None,
    )


def _arm64_engines(evaluated: EvaluateOutput) -> tuple[Engine, ...]:
    """Return the engines that serve the version without libdeepspeech, which runs on x86-64 only."""
    if evaluated.grammar is not None:
        return tuple(Engine)
    if evaluated.native is None:
        return ()
    return (Engine.AUTO, Engine.NATIVE) if evaluated.native.differences == 0 else (Engine.NATIVE,)


def rounded(value: float | None) -> float | None:
    """Return the value with six significant digits, as the status shows it."""
    return None if value is None else float(f"{value:.6g}")


def _share(part: int, whole: int) -> float | None:
    return rounded(part / whole) if whole else None


def _with(version: ModelStatus, promotion: Promotion) -> ModelStatus:
    return version.model_copy(update={"promotion": promotion})
