"""The division of the clips into parts.

With at least three speakers, dev and test are the clips of whole speakers that training never
hears: a person's own voice in another sentence is far easier than a stranger's. A few clips of the
speakers in training are held out as well (Part.SEEN), so that both can be measured. With fewer
speakers, or when every division would leave a phrase without training clips, single clips are
drawn, each by itself, or by their number where they are few. Sentences of free speech, which nearly
all occur once, are no phrases in this sense.

Every draw is a hash of the seed and a digest or a speaker, so nothing moves when other speakers or
clips are added, but for what balances the sizes, for clips at the edge of a counted part, for a
speaker whose rows come to be written in another way, and when a dataset grows to FEW_CLIPS, from
which clips are drawn one by one.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from speechmodel_api.dataset_spec import Split, SplitBy
from speechmodel_stagekit.dataset import Part

FEWEST_SPEAKERS = 3
"""Speakers that a division by speaker needs: one for each part."""
FEW_CLIPS = 50
"""Clips below which parts are counted. If each of 12 clips is drawn by itself, 28 % of the datasets have no test clip."""
FEWEST_CLIPS = 6
"""Clips from which dev and test have one at least."""
SEEN_SHARE = 0.5
"""Clips that are held out of speakers in training, as a fraction of the share of test clips."""


@dataclass(frozen=True)
class Candidate:
    """A clip that is to be divided."""

    digest: str
    """sha256 of its samples."""
    transcript: str
    speaker: str | None


def divide(clips: Sequence[Candidate], split: Split) -> dict[str, Part]:
    """Return the part of each clip by its digest. Every phrase of a closed set keeps a training clip."""
    by_speaker = _divide_by_speaker(clips, split) if split.by is SplitBy.SPEAKER else None
    return by_speaker or _divide_by_clip(clips, split)


def is_closed_set(phrases: int, clips: int) -> bool:
    """Return True when phrases are said twice or more on average, unlike sentences of free speech."""
    return 2 * phrases <= clips


def _divide_by_clip(clips: Sequence[Candidate], split: Split) -> dict[str, Part]:
    draws = {clip.digest: _draw(split.seed, clip.digest) for clip in clips}
    if len(clips) < FEW_CLIPS:
        return _counted(clips, draws, split)
    parts = {digest: _part(draw, split) for digest, draw in draws.items()}
    if Part.TRAIN not in parts.values():
        parts[max((draws[clip.digest], clip.digest) for clip in clips)[1]] = Part.TRAIN
    for of_phrase in _phrases(clips).values():
        if all(parts[clip.digest] is not Part.TRAIN for clip in of_phrase):
            parts[max((draws[clip.digest], clip.digest) for clip in of_phrase)[1]] = Part.TRAIN
    return parts


def _counted(clips: Sequence[Candidate], draws: Mapping[str, float], split: Split) -> dict[str, Part]:
    """Return the parts of few clips: the lowest draws are test, then dev, in the numbers that were asked for."""
    parts = dict.fromkeys(draws, Part.TRAIN)
    phrase_of = {clip.digest: phrase for phrase, of_phrase in _phrases(clips).items() for clip in of_phrase}
    left = Counter(phrase_of.get(digest) for digest in parts)
    free = [digest for _, digest in sorted((draw, digest) for digest, draw in draws.items())]
    for part, percent in ((Part.TEST, split.test_percent), (Part.DEV, split.dev_percent)):
        fewest = 1 if percent and len(parts) >= FEWEST_CLIPS else 0
        wanted = max(int(percent / 100 * len(parts) + 0.5), fewest)
        for digest in list(free):
            if not wanted:
                break
            if left[phrase_of.get(digest)] > 1:
                left[phrase_of.get(digest)] -= 1
                free.remove(digest)
                parts[digest], wanted = part, wanted - 1
    return parts


def _divide_by_speaker(clips: Sequence[Candidate], split: Split) -> dict[str, Part] | None:
    speakers = {clip.speaker for clip in clips if clip.speaker}
    if len(speakers) < FEWEST_SPEAKERS:
        return None
    training = set(speakers)
    part_of: dict[str, Part] = {}
    for part, percent in ((Part.TEST, split.test_percent), (Part.DEV, split.dev_percent)):
        chosen = _choose(clips, training, percent, split.seed)
        if percent and not chosen:
            return None
        training -= chosen
        part_of |= dict.fromkeys(chosen, part)
    parts = {clip.digest: part_of.get(clip.speaker or "", Part.TRAIN) for clip in clips}
    return parts | _hold_out_seen(clips, parts, split)


def _choose(clips: Sequence[Candidate], training: Collection[str], percent: int, seed: int) -> set[str]:
    """Return speakers with about `percent` of all clips, without whom every phrase can still be trained.

    Speakers with more than twice that come last, so that the owner of most recordings is trained.
    """
    sizes = Counter(clip.speaker for clip in clips)
    of_phrases = [frozenset(clip.speaker for clip in of_phrase) for of_phrase in _phrases(clips).values()]
    wanted = percent / 100 * len(clips)
    chosen: set[str] = set()
    size = 0
    by_draw = sorted(training, key=lambda speaker: _draw(seed, speaker))
    for speaker in sorted(by_draw, key=lambda speaker: sizes[speaker] if sizes[speaker] > 2 * wanted else 0):
        if size >= wanted or len(training) - len(chosen) == 1:
            break
        closer = abs(size + sizes[speaker] - wanted) < abs(size - wanted)
        if (closer or not chosen) and _covered(of_phrases, set(training) - chosen - {speaker}):
            chosen.add(speaker)
            size += sizes[speaker]
    return chosen


def _covered(of_phrases: Collection[frozenset[str | None]], training: Collection[str]) -> bool:
    """Return True when every phrase is said by one of these speakers, or in a clip without a speaker.

    `of_phrases` are the speakers of each phrase.
    """
    return all(None in speakers or not speakers.isdisjoint(training) for speakers in of_phrases)


def _hold_out_seen(clips: Sequence[Candidate], parts: Mapping[str, Part], split: Split) -> dict[str, Part]:
    trained = [clip for clip in clips if parts[clip.digest] is Part.TRAIN]
    left = Counter(name for clip in trained for name in (("phrase", clip.transcript), ("speaker", clip.speaker)))
    wanted = int(SEEN_SHARE * split.test_percent / 100 * len(trained))
    held: dict[str, Part] = {}
    for clip in sorted(trained, key=lambda clip: _draw(split.seed, clip.digest)):
        if len(held) >= wanted:
            break
        phrase, speaker = ("phrase", clip.transcript), ("speaker", clip.speaker)
        if clip.speaker and left[phrase] > 1 and left[speaker] > 1:
            left.subtract((phrase, speaker))
            held[clip.digest] = Part.SEEN
    return held


def _phrases(clips: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Return the clips of each transcript if they are a closed set: said twice or more on average."""
    grouped: dict[str, list[Candidate]] = defaultdict(list)
    for clip in clips:
        grouped[clip.transcript].append(clip)
    return grouped if is_closed_set(len(grouped), len(clips)) else {}


def _draw(seed: int, name: str) -> float:
    """Return a number from 0 to 100."""
    drawn = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64 * 100


def _part(draw: float, split: Split) -> Part:
    """Return the part of a clip: the lowest draws are test, then dev, then train."""
    if draw < split.test_percent:
        return Part.TEST
    if draw < split.test_percent + split.dev_percent:
        return Part.DEV
    return Part.TRAIN
