"""evaluate, from the input document to the finished folder `reports/<key>/`."""

import logging
import shutil
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import GrammarDecoder, NativeEngine, Rejection, WeighedScorer
from speechmodel_api.stages.evaluate import EvaluateInput, EvaluateOutput, NetworkChoice
from speechmodel_api.workspace import GRAMMAR, MODEL, PAGE, QUANTISED, REPORT, SCORER, SELFTEST, Workspace
from speechmodel_decoding import BeamSearch, FreeTextRecogniser, Recogniser, Spelling
from speechmodel_runtime import Pcm, read_graph
from speechmodel_stagekit.artefacts import file_digest, once, require_file
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset, open_dataset
from speechmodel_stagekit.errors import ArtefactMissing

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import (
    character_errors,
    grammar_figures,
    text_calibration_error,
    with_grammar,
    word_error_rate,
    word_errors,
    worst,
)
from speechmodel_pipeline.evaluate.free_text import Calibrated, in_free_text, opened
from speechmodel_pipeline.evaluate.grammar import CalibratedOn, compile_for, decide, load_acoustic_model
from speechmodel_pipeline.evaluate.native import compare_engines, in_parts
from speechmodel_pipeline.evaluate.networks import choose_network
from speechmodel_pipeline.evaluate.page import report_page
from speechmodel_pipeline.evaluate.scorer import Tuning
from speechmodel_pipeline.evaluation_report import (
    ClipResult,
    ConfidenceReport,
    EvaluationReport,
    ForeignClips,
    GrammarReport,
    NativeReport,
    RejectionReport,
    ScorerReport,
    SelfTest,
)

log = logging.getLogger(__name__)

FREE_TEXT = GrammarSource.FREE_TEXT
RECORDED, BUILT_IN, OTHER_TRANSCRIPTS = (
    "recordings of other speech",
    "built-in words",
    "transcripts outside of the grammar",
)
"""Kinds of clips that must be rejected."""
SELFTEST_CANDIDATES = 20
"""Clips that are transcribed to choose the self-test when there are no test clips."""


def evaluate(task: EvaluateInput) -> EvaluateOutput:
    """Make the report in `reports/<key>/`, unless it is complete.

    Raises ArtefactMissing when the model or the dataset is gone or changed, and BadConfiguration
    (InvalidGrammar) when the phrases of the spec cannot be compiled for the model.
    """
    return once(Workspace(task.workspace).report(task.key), EvaluateOutput, lambda folder: _make(task, folder))


def _make(task: EvaluateInput, folder: Path) -> EvaluateOutput:
    workspace = Workspace(task.workspace)
    path = require_file(workspace.export(task.convert_key) / MODEL, task.model_sha256)
    dataset = open_dataset(workspace.data(task.data_key), task.dataset_digest)
    test, seen = dataset.clips(Part.TEST), dataset.clips(Part.SEEN)
    others = dataset.clips(Part.NEGATIVES) if _rejects(task) else ()
    spoken = (*test, *seen) or _substitutes(dataset)
    chosen = (*spoken, *others)
    free_text = in_free_text(task, path, dataset, chosen, folder)
    free, tuning = free_text.results, free_text.tuning
    by_grammar = task.decoding.grammar is not FREE_TEXT
    decided = _decide(task, dataset, chosen, free, folder) if by_grammar else free_text.calibrated
    results = decided.results if decided else free
    native = _native(task, path, decided, chosen, results, dataset.speech_level)
    differing = {each.clip for each in native.differences} if native else set()
    selftest = _write_selftest(spoken, results[: len(spoken)], differing, folder / SELFTEST)
    measured = results if test or seen else results[len(spoken) :]
    report = _report(task, dataset, measured, len(test), free, decided, selftest)
    if tuning is not None:
        report = report.model_copy(update={"scorer": _scorer_report(tuning)})
    report = report.model_copy(update={"native": native})
    text = report.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    (folder / REPORT).write_text(text, encoding="utf-8")
    page = report_page(task, dataset, report, {clip.name: clip for clip in chosen})
    (folder / PAGE).write_text(page, encoding="utf-8")
    details = report.grammar or report.rejection
    return EvaluateOutput(
        clips=report.clips,
        wer=report.wer,
        cer=report.cer,
        wer_unseen_speakers=report.wer_unseen_speakers,
        wer_seen_speakers=report.wer_seen_speakers,
        free_text_wer=details.free_text_wer if details else None,
        grammar=decided.decoder if isinstance(decided, _Decided) else None,
        networks=decided.networks if isinstance(decided, _Decided) else None,
        rejection=decided.rejection if isinstance(decided, Calibrated) else None,
        confidence=report.confidence.calibration if report.confidence else None,
        scorer=_weighed(tuning, folder) if tuning else None,
        native=NativeEngine(
            quantised_sha256=task.quantised_sha256, clips=native.clips, differences=len(native.differences)
        )
        if native and not native.same_network and task.quantised_sha256
        else None,
        figures=details.figures if details else None,
        report_sha256=file_digest(folder / REPORT),
        page_sha256=file_digest(folder / PAGE),
        selftest_sha256=file_digest(folder / SELFTEST),
    )


def _rejects(task: EvaluateInput) -> bool:
    return task.decoding.grammar is not FREE_TEXT or task.decoding.foreign_speech is ForeignSpeech.REJECT


@dataclass(frozen=True)
class _Decided:
    """The clips as the grammar decides them."""

    decoder: GrammarDecoder
    recogniser: Recogniser
    calibrated_on: CalibratedOn
    networks: NetworkChoice | None
    results: list[ClipResult]


def _decide(
    task: EvaluateInput, dataset: PreparedDataset, clips: Sequence[Clip], free: Sequence[ClipResult], folder: Path
) -> _Decided:
    """Write the compiled grammar into `folder` and return what it makes of `clips`."""
    export = Workspace(task.workspace).export(task.convert_key)
    graph = read_graph(export / MODEL)
    grammar = compile_for(task.decoding, dataset, [label.decode() for label in graph.labels], task.language)
    (folder / GRAMMAR).write_bytes(grammar.to_bytes())
    network, networks = choose_network(task, export, grammar, dataset)
    recogniser = network.recogniser
    with ThreadPoolExecutor(available_cpus()) as pool:
        decisions = pool.map(lambda clip: decide(recogniser, read_clip(clip), dataset.speech_level), clips)
        results = [
            with_grammar(result, decision, foreign=not grammar.accepts(result.reference))
            for result, decision in zip(free, decisions, strict=True)
        ]
    return _Decided(network.decoder(folder / GRAMMAR), recogniser, network.calibrated_on, networks, results)


def _native(
    task: EvaluateInput,
    model: Path,
    decided: _Decided | Calibrated | None,
    clips: Sequence[Clip],
    results: Sequence[ClipResult],
    speech_level: float | None,
) -> NativeReport | None:
    """Return the answers of the engine Native, or None if it cannot decode the model. None are compared if both engines run
    the phrase network.
    """
    if isinstance(decided, _Decided) and decided.decoder.embedded:
        return NativeReport(clips=len(clips), same_network=True)
    if task.quantised_sha256 is None or task.decoding.scorer is not None:
        return None
    quantised = load_acoustic_model(require_file(model.with_name(QUANTISED), task.quantised_sha256))
    if isinstance(decided, _Decided):
        recogniser = Recogniser(quantised, decided.recogniser.grammar, decided.decoder.calibration)
        return compare_engines(lambda pcm: decide(recogniser, pcm, speech_level).text, clips, results)
    search = BeamSearch([label.decode() for label in read_graph(model).labels], beam_width=task.decoding.beam_width)
    judge = decided.judge if decided else None
    free_text = FreeTextRecogniser(search, judge)

    def native(pcm: Pcm) -> str:
        return free_text.spell(quantised.log_probabilities(pcm)).text

    with opened(model, task.decoding.beam_width, None) as library:

        def deep_speech(pcm: Pcm) -> str:
            found = library.transcribe(pcm, name="a part of a clip")
            if judge is None or judge.threshold is None or not found.text:
                return found.text
            frames = judge.scorer.model.log_probabilities(pcm)
            return "" if judge.rejects(frames, Spelling(found.labels, tuple(found.times))) else found.text

        return compare_engines(native, clips, results, lambda pcm: in_parts(deep_speech, native, pcm, speech_level))


def _substitutes(dataset: PreparedDataset) -> tuple[Clip, ...]:
    """Return clips for the self-test of a dataset without test clips."""
    clips = dataset.clips(Part.DEV) or tuple(
        clip for clip in dataset.clips(Part.TRAIN) if CATCH_ALL not in clip.transcript
    )
    if not clips:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{dataset.folder} has no clips; it is prepared again")
    return clips[:SELFTEST_CANDIDATES]


def _write_selftest(clips: Sequence[Clip], results: Sequence[ClipResult], differing: Set[str], path: Path) -> SelfTest:
    """Copy the clip with the fewest errors to `path`, the shortest of equal ones. Clips that the engines answer
    differently are the last choice.
    """

    def errors(pair: tuple[Clip, ClipResult]) -> tuple[bool, float, float, float, str]:
        result = pair[1]
        return result.clip in differing, result.wer, result.cer, result.seconds, result.clip

    clip, result = min(zip(clips, results, strict=True), key=errors)
    shutil.copyfile(clip.path, path)
    return SelfTest(
        clip=clip.name,
        part=clip.part.value,
        reference=clip.transcript,
        text=result.hypothesis,
        confidence=result.confidence,
    )


def _report(
    task: EvaluateInput,
    dataset: PreparedDataset,
    results: Sequence[ClipResult],
    test_clips: int,
    free: Sequence[ClipResult],
    decided: _Decided | Calibrated | None,
    selftest: SelfTest,
) -> EvaluationReport:
    """Return the report on the test clips, which are first in `results`, and those of seen speakers.

    The error rates are those of clips with phrases.
    """
    phrases = [result for result in results if not result.foreign]
    foreign = [result for result in results if result.foreign]
    counted = [result for result in results[:test_clips] if not result.foreign]
    words, characters = (word_errors(counted), character_errors(counted)) if counted else (None, None)
    recorded = dataset.recorded_negatives()
    of_voices = partial(word_error_rate, speakers=dataset.speakers().of, speakers_guessed=dataset.speakers_guessed)
    return EvaluationReport(
        model_sha256=task.model_sha256,
        dataset_digest=task.dataset_digest,
        decoding=task.decoding,
        speech_level=dataset.speech_level,
        clips=len(counted),
        seconds=round(sum(result.seconds for result in results), 3),
        wer=round(words.rate, 6) if words else None,
        cer=round(characters.rate, 6) if characters else None,
        wer_unseen_speakers=of_voices([result for result in phrases if result.unseen_speaker is True]),
        wer_seen_speakers=of_voices([result for result in phrases if result.unseen_speaker is False]),
        words=words,
        characters=characters,
        note=None if counted else "the split left no test clips; raise dataset.split.testPercent or add recordings",
        grammar=_grammar_report(decided, counted, foreign, free, recorded) if isinstance(decided, _Decided) else None,
        rejection=_rejection_report(decided, decided.rejection, counted, foreign, free, recorded)
        if isinstance(decided, Calibrated) and decided.rejection
        else None,
        confidence=_confidence_report(decided, (*counted, *foreign)) if isinstance(decided, Calibrated) else None,
        selftest=selftest,
        worst=worst(counted),
        results=tuple(results),
    )


def _grammar_report(
    decided: _Decided,
    phrases: Sequence[ClipResult],
    foreign: Sequence[ClipResult],
    free: Sequence[ClipResult],
    recorded: Set[str],
) -> GrammarReport:
    on = decided.calibrated_on
    return GrammarReport(
        calibration=decided.decoder.calibration,
        calibrated_on=on.part.value,
        calibration_clips=on.clips,
        calibration_copies=on.copies,
        calibration_right=on.right,
        networks=decided.networks,
        figures=grammar_figures(phrases, foreign, recorded) if phrases or foreign else None,
        foreign=_by_kind(foreign, recorded),
        free_text_wer=_free_text_wer(phrases, free),
    )


def _confidence_report(calibrated: Calibrated, results: Sequence[ClipResult]) -> ConfidenceReport:
    on = calibrated.set_on
    return ConfidenceReport(
        calibration=calibrated.confidence.model_copy(update={"calibration_error": text_calibration_error(results)}),
        calibrated_on=on.part.value,
        calibration_clips=on.clips,
        calibration_copies=on.copies,
        calibration_right=on.right,
    )


def _rejection_report(
    calibrated: Calibrated,
    rejection: Rejection,
    phrases: Sequence[ClipResult],
    foreign: Sequence[ClipResult],
    free: Sequence[ClipResult],
    recorded: Set[str],
) -> RejectionReport:
    on = calibrated.set_on
    return RejectionReport(
        threshold=rejection.threshold,
        set_on=on.part.value,
        clips=on.clips,
        copies=on.copies,
        right=on.nearly_right,
        figures=grammar_figures(phrases, foreign, recorded) if phrases or foreign else None,
        foreign=_by_kind(foreign, recorded),
        free_text_wer=_free_text_wer(phrases, free),
    )


def _scorer_report(tuning: Tuning) -> ScorerReport:
    return ScorerReport(
        alpha=tuning.alpha,
        beta=tuning.beta,
        built_from=tuning.taken.built_from,
        unknown_words=tuning.taken.unknown_words,
        tuned_on=tuning.part.value if tuning.tried else None,
        clips=tuning.clips,
        tried=tuning.tried,
    )


def _weighed(tuning: Tuning, folder: Path) -> WeighedScorer:
    return WeighedScorer(scorer_sha256=file_digest(folder / SCORER), alpha=tuning.alpha, beta=tuning.beta)


def _by_kind(foreign: Sequence[ClipResult], recorded: Set[str]) -> dict[str, ForeignClips]:
    kinds: dict[str, list[ClipResult]] = {RECORDED: [], BUILT_IN: [], OTHER_TRANSCRIPTS: []}
    for result in foreign:
        negative = RECORDED if result.clip in recorded else BUILT_IN
        kinds[negative if CATCH_ALL in result.reference else OTHER_TRANSCRIPTS].append(result)
    return {
        kind: ForeignClips(clips=len(each), accepted=sum(bool(result.hypothesis) for result in each))
        for kind, each in kinds.items()
        if each
    }


def _free_text_wer(phrases: Sequence[ClipResult], free: Sequence[ClipResult]) -> float | None:
    names = {result.clip for result in phrases}
    as_free_text = [result for result in free if result.clip in names]
    return round(word_errors(as_free_text).rate, 6) if as_free_text else None
