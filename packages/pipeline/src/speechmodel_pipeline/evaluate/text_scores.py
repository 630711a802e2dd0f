"""The scores of free text: the threshold of foreign speech and the confidences, set on the dev clips, and the scores of
the clips that are measured.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import TextConfidence
from speechmodel_decoding import Examples, LogProbabilities, TextScorer, fit, threshold_of
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_runtime import Model, Pcm, Transcript
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.calibrating import chosen_clips, impostors, of_each
from speechmodel_pipeline.evaluate.figures import right_words, same_text, word_error_share

MOST_ERRORS = 0.2
"""Word error rate of a text that is still right enough to set the threshold on: an error in a long
sentence, none in a command."""


@dataclass(frozen=True)
class TextCalibration:
    """How scores of free text become decisions and confidences, and the clips that this was set on."""

    threshold: float
    """Score below which a text is rejected, if foreign speech is."""
    confidence: TextConfidence
    """Without its network, and before its error is known."""
    part: Part
    clips: int
    copies: int
    nearly_right: int
    """Clips and copies with at most MOST_ERRORS. 1 % of them are below the threshold."""
    right: int
    """Clips and copies whose text was right, word for word."""


def calibrated(model: Model, scorer: TextScorer, dataset: PreparedDataset) -> TextCalibration:
    """Return the threshold and the confidences for the dev clips of the dataset, or its training clips if it has no
    dev clips, and for their rough copies.

    A text is right word for word for the confidences, and with at most MOST_ERRORS for the threshold. Raises BadData
    (ModelUnusable) when the network does not run.
    """
    part, clips = chosen_clips(dataset, lambda clip: CATCH_ALL not in clip.transcript)
    texts = sorted({clip.transcript for clip in clips})

    def examples(clip: Clip, heard: list[Pcm]) -> _Found:
        frames = [_frames(scorer, pcm) for pcm in heard]
        transcripts = [model.transcribe(pcm, name=clip.name) for pcm in heard]
        return _Found(
            heard=[
                _text(scorer, of_text, clip, transcript.text, scorer.score(of_text, transcript.text, transcript.times))
                for of_text, transcript in zip(frames, transcripts, strict=True)
                if transcript.text
            ],
            impostor=_impostor(scorer, frames[0], clip, texts),
            copies=len(heard) - 1,
        )

    found = of_each(clips, part, dataset, examples)
    heard = [text for each in found for text in each.heard]
    wrong = [text for each in found for text in each.impostor]
    offset, slope = fit(
        Examples(
            right=[text.score for text in heard if text.exact],
            wrong=[text.score for text in (*heard, *wrong) if not text.exact],
        )
    )
    words = [pair for text in heard for pair in text.words]
    word_offset, word_slope = fit(
        Examples(
            right=[score for score, right in words if right],
            wrong=[score for score, right in (*words, *(pair for text in wrong for pair in text.words)) if not right],
        )
    )
    nearly_right = [text.score for text in heard if text.errors <= MOST_ERRORS]
    return TextCalibration(
        threshold=round(threshold_of(nearly_right), 6),
        confidence=TextConfidence(offset=offset, slope=slope, word_offset=word_offset, word_slope=word_slope),
        part=part,
        clips=len(clips),
        copies=sum(each.copies for each in found),
        nearly_right=len(nearly_right),
        right=sum(text.exact for text in heard),
    )


def scores(
    scorer: TextScorer,
    clips: Sequence[Clip],
    transcripts: Sequence[Transcript],
    read: Callable[[Clip], Pcm] = read_clip,
) -> list[float | None]:
    """Return the score of each clip's text, None for an empty one.

    Raises BadData (ModelUnusable) when the acoustic model does not run.
    """

    def score(clip: Clip, transcript: Transcript) -> float | None:
        if not transcript.text:
            return None
        return scorer.score(_frames(scorer, read(clip)), transcript.text, transcript.times)

    with ThreadPoolExecutor(available_cpus()) as pool:
        return list(pool.map(score, clips, transcripts))


@dataclass(frozen=True)
class _Text:
    """A text for the frames of a clip, with its score."""

    score: float
    exact: bool
    errors: float
    """Its word error rate."""
    words: list[tuple[float, bool]]
    """Score of each word, and True for a word that was said."""


@dataclass(frozen=True)
class _Found:
    heard: list[_Text]
    """The texts of a clip and its copies that are not empty."""
    impostor: list[_Text]
    copies: int


def _impostor(scorer: TextScorer, frames: LogProbabilities, clip: Clip, texts: Sequence[str]) -> list[_Text]:
    """Return the best of some other texts that fit into the clip; none when there is none."""
    found = {
        text: scorer.score(frames, text, [place * len(frames) // len(text) for place in range(len(text))])
        for text in impostors(clip, texts, len(frames))
    }
    best = max(found, key=lambda text: found[text], default=None)
    return [] if best is None else [_text(scorer, frames, clip, best, found[best])]


def _text(scorer: TextScorer, frames: LogProbabilities, clip: Clip, text: str, score: float) -> _Text:
    return _Text(
        score=score,
        exact=same_text(text, clip.transcript),
        errors=word_error_share(clip.transcript, text),
        words=list(zip(scorer.word_scores(frames, text), right_words(clip.transcript, text), strict=True)),
    )


def _frames(scorer: TextScorer, pcm: Pcm) -> LogProbabilities:
    try:
        return scorer.model.log_probabilities(pcm)
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
