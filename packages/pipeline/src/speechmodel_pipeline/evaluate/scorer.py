"""The scorer of free text: copy it from the folder of the dataset or build it, check it against the model,
and tune its weights on the dev clips.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jiwer
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.decoding_spec import Scorer as ScorerSpec
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.evaluate import EvaluateInput
from speechmodel_api.words import folded
from speechmodel_api.workspace import SCORER, Workspace
from speechmodel_runtime import Model, Pcm, Scorer, ScorerWords, read_graph, seconds
from speechmodel_runtime.errors import ScorerError
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset
from speechmodel_stagekit.errors import BadConfiguration

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.built_scorer import TextUnusable, build_scorer
from speechmodel_pipeline.evaluate.sampling import evenly_spaced
from speechmodel_pipeline.evaluation_report import BuiltFrom, TriedWeights
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)

ALPHAS = (0.25, 0.5, 1.0, 1.5, 2.5)
BETAS = (-1.0, 0.0, 1.0, 2.0, 4.0)
"""Weights that are tried besides those of the file. Upstream searched from 0 to 5."""
TUNING_SECONDS = 120.0
"""About as much audio as the weights are tuned on: each pair of them decodes all of it."""
LEAST_KNOWN = 0.5
"""Part of the words of the transcripts that a scorer must contain. One for another alphabet has next
to none of them."""
NAMED = 5
"""Words that a message names."""


@dataclass(frozen=True)
class TakenScorer:
    """A scorer that fits the model, with its first weights."""

    wanted: ScorerSpec
    scorer: Scorer
    built_from: BuiltFrom | None
    unknown_words: int
    """Words of the transcripts that it lacks, so that they are never recognised."""


@dataclass(frozen=True)
class Tuning:
    """The weights of a scorer, and the clips and weights that were tried."""

    taken: TakenScorer
    alpha: float
    beta: float
    part: Part
    clips: int
    tried: tuple[TriedWeights, ...]
    """Empty when both weights are given."""


@contextmanager
def scorer_errors(scorer: ScorerSpec | None) -> Iterator[None]:
    """Turn the runtime's errors of a scorer into BadConfiguration (InvalidScorer)."""
    try:
        yield
    except ScorerError as error:
        assert scorer is not None
        raise _invalid(scorer, error.problem) from error


def take_scorer(task: EvaluateInput, dataset: PreparedDataset, model: Path, folder: Path) -> TakenScorer | None:
    """Copy or build the scorer into `folder` and return it, or None if decoding has none.

    Raises BadConfiguration (InvalidScorer) when it or its text is missing, or when it lacks the words of
    the transcripts, and ScorerError when it cannot be used with the model at `model`.
    """
    wanted = task.decoding.scorer
    if wanted is None:
        return None
    labels, built_from = read_graph(model).labels, None
    file = Path(task.source) / wanted.file if task.source and wanted.file else None
    try:
        if wanted.build is not None:
            built_from = build_scorer(wanted.build, file, dataset, labels, task.language, folder / SCORER)
        else:
            assert file is not None
            shutil.copyfile(file, folder / SCORER)
    except OSError as error:
        if not file or error.filename != str(file):
            raise  # the workspace is full, or gone
        problem = f"cannot be read in the folder of the dataset ({error.strerror})"
        raise _invalid(wanted, f"{problem}; {_advice(task)}") from error
    except TextUnusable as error:
        raise _invalid(wanted, str(error)) from error
    words = ScorerWords(folder / SCORER, labels)
    scorer = Scorer(
        folder / SCORER,
        words.alpha if wanted.alpha is None else wanted.alpha,
        words.beta if wanted.beta is None else wanted.beta,
        wanted.hot_words,
    )
    return TakenScorer(wanted, scorer, built_from, _unknown(wanted, dataset, words))


def _advice(task: EvaluateInput) -> str:
    assert task.source is not None
    if Path(task.source) == Workspace(task.workspace).source(task.source.name):
        return "upload it to the bucket and change dataset.revision, so that it is downloaded, or correct the path"
    return "copy it there, or correct the path"


def tune(model: Model, taken: TakenScorer, dataset: PreparedDataset) -> Tuning:
    """Give the model the weights with the fewest word errors on the dev clips, or on training clips
    without any, and return them. Weights of the spec stay as they are.

    First alpha is varied and then beta. Of equal errors, the first wins; the weights of the file are
    tried first.
    """
    part = Part.DEV if dataset.clips(Part.DEV) else Part.TRAIN
    clips = _some_seconds([clip for clip in dataset.clips(part) if CATCH_ALL not in clip.transcript])
    alphas = ALPHAS if taken.wanted.alpha is None else ()
    betas = BETAS if taken.wanted.beta is None else ()
    if not (alphas or betas):
        return Tuning(taken, taken.scorer.alpha, taken.scorer.beta, part, 0, ())
    recordings = [read_clip(clip) for clip in clips]
    steps = Steps(1 + len(alphas) + len(betas), "weights of the scorer")

    def weighed(alpha: float, beta: float) -> TriedWeights:
        model.weigh_scorer(alpha, beta)
        found = TriedWeights(alpha=alpha, beta=beta, wer=_error_rate(model, clips, recordings))
        steps.advance()
        return found

    tried = [weighed(taken.scorer.alpha, taken.scorer.beta)]
    tried += [weighed(alpha, taken.scorer.beta) for alpha in alphas]
    alpha = _best(tried).alpha
    tried += [weighed(alpha, beta) for beta in betas]
    best = _best(tried)
    model.weigh_scorer(best.alpha, best.beta)
    log.info("scorer: alpha %g and beta %g, WER %.1f%% on %d clips", best.alpha, best.beta, best.wer * 100, len(clips))
    return Tuning(taken, best.alpha, best.beta, part, len(clips), tuple(tried))


def _best(tried: Sequence[TriedWeights]) -> TriedWeights:
    return min(tried, key=lambda weights: weights.wer)


def _error_rate(model: Model, clips: Sequence[Clip], recordings: Sequence[Pcm]) -> float:
    with ThreadPoolExecutor(available_cpus()) as pool:
        texts = list(pool.map(lambda clip, pcm: model.transcribe(pcm, name=clip.name).text, clips, recordings))
    return round(float(jiwer.wer([folded(clip.transcript) for clip in clips], [folded(text) for text in texts])), 6)


def _some_seconds(clips: Sequence[Clip]) -> list[Clip]:
    """Return a sample of the clips with about TUNING_SECONDS of audio, one clip at least."""
    share = TUNING_SECONDS / sum(seconds(clip.samples) for clip in clips)
    return evenly_spaced(clips, max(1, int(len(clips) * share)))


def _unknown(wanted: ScorerSpec, dataset: PreparedDataset, words: ScorerWords) -> int:
    """Return the number of words of the transcripts that the scorer lacks."""
    transcripts = [clip.transcript for part in Part for clip in dataset.clips(part) if CATCH_ALL not in clip.transcript]
    spoken = sorted({word for transcript in transcripts for word in transcript.split()})
    unknown = [word for word in spoken if word not in words]
    named = ", ".join(unknown[:NAMED])
    if len(unknown) > len(spoken) * (1 - LEAST_KNOWN):
        problem = f"lacks {len(unknown)} of the {len(spoken)} words of the transcripts ({named}), so they are never"
        advice = "add" if wanted.build else "generate it from the alphabet of this dataset and"
        raise _invalid(wanted, f"{problem} recognised; {advice} text with these words")
    if unknown:
        log.warning("the scorer lacks %d of %d words of the transcripts: %s", len(unknown), len(spoken), named)
    return len(unknown)


def _invalid(scorer: ScorerSpec, problem: str) -> BadConfiguration:
    field = "build.text" if scorer.build and scorer.build.text else "build" if scorer.build else "path"
    return BadConfiguration(
        Reason.INVALID_SCORER, f"decoding.scorer.{field}: {scorer.file or 'the scorer of the transcripts'} {problem}"
    )
