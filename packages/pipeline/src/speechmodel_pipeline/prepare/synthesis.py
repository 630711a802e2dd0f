"""Synthetic takes of the phrases by espeak-ng, and of near misses, for training only.

Every take has another voice, pitch and speed, and the bandwidth and the level of a training clip
that is drawn for it. Draws depend on the phrase alone, so a phrase keeps its takes when others are
added. The samples also depend on the version of espeak-ng.

Text that espeak-ng cannot read, such as Japanese kanji, is spelled in English. Such phrases get no takes, and voices that do so
are not used: `cmn` reads pinyin alone.
"""

import io
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import regex
import soundfile
import soxr
from speechmodel_api.audio import SAMPLE_RATE, WINDOW, frame_count, frames_needed
from speechmodel_api.dataset_spec import Synthesis
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import AUTO
from speechmodel_runtime import AudioInfo, Pcm, level
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadConfiguration

from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.near_misses import Text, near_miss
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare.split import is_closed_set
from speechmodel_pipeline.progress import Steps

PROGRAM = "espeak-ng"
NAME = "synthetic takes"
"""The source of the takes in registry.csv."""
VARIANTS = (
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Storm Tweaky "
    "adam anika antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa "
    "gustave iven iven2 iven3 iven4 john linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert pablo paul "
    "pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac"
)
"""Variants of espeak-ng 1.51 that sound like people: other formants, pitch and voicing. Whispers, robots
and those of another synthesizer are left out."""
SLOWEST, FASTEST = 110, 230
"""Words per minute."""
LOWEST, HIGHEST = 10, 80
"""Pitch, of 0 to 99 in espeak-ng."""
QUIET = 0.01
"""Share of the peak below which the beginning and the end of a take are cut."""
ATTEMPTS = 3
"""Draws per take, most of which are only needed where voices are alike."""
WITHOUT_VOWELS = frozenset({"he"})
"""Languages that espeak-ng 1.51 reads without the vowels that are not written."""
NEAR_MISS_SHARE = 2
"""Takes of a phrase for each of its near misses."""


@dataclass(frozen=True)
class Synthesized:
    """Synthetic clips, all in the part train."""

    takes: list[PreparedClip]
    near_misses: list[PreparedClip]
    """Negatives: their transcripts contain the catch-all label."""
    unread: tuple[str, ...] = ()
    """Phrases that no voice reads."""


def synthesize_takes(
    clips: Sequence[PreparedClip],
    folder: Path,
    chosen: Synthesis,
    language: str,
    *,
    speech_level: float | None,
    closed_set: bool = False,
    negatives: bool = False,
) -> Synthesized:
    """Return takes, written below `folder`: of every phrase of a closed set, or else of the sentences in
    training, so that those of dev and test are never trained.

    `closed_set` is True for commands; other sets are closed when their phrases recur. With `negatives`,
    the phrases of a closed set get near misses too. Takes that are too short for their phrase are left
    out. Raises BadConfiguration (SynthesisUnavailable) when espeak-ng is not installed, has no such voice,
    or reads no phrase.
    """
    models = [clip for clip in clips if clip.part is Part.TRAIN]
    voices = _voices(chosen, language)
    closed = closed_set or is_closed_set(len({clip.transcript for clip in clips}), len(clips))
    phrases = sorted({clip.transcript for clip in (clips if closed else models)})
    words = {word for phrase in phrases for word in phrase.split()}
    steps = Steps(len(phrases), "phrases")
    known = {clip.file.digest for clip in clips}

    def spoken(
        text: Callable[[], tuple[Text, Sequence[str]] | None], chance: random.Random, number: int
    ) -> list[PreparedClip]:
        made: dict[str, PreparedClip] = {}
        for _ in range(number * ATTEMPTS):
            if len(made) == number or (drawn := text()) is None:
                break
            said, readers = drawn
            take = _take(said, chance, readers, chance.choice(models), folder, speech_level) if readers else None
            if take and take.file.digest not in known:
                made[take.file.digest] = take
        return list(made.values())

    def synthesized(phrase: str) -> Synthesized:
        chance, other = random.Random(phrase), random.Random(f"near misses of {phrase}")  # noqa: S311 - no secret
        near_misses = chosen.takes_per_phrase // NEAR_MISS_SHARE if closed and negatives else 0
        readers = _readers(voices, phrase)

        def missed() -> tuple[Text, Sequence[str]] | None:
            drawn = near_miss(phrase, words, other)
            return (drawn, _readers(voices, drawn.spoken)) if drawn else None

        made = Synthesized(
            spoken(lambda: (Text(phrase, phrase), readers), chance, chosen.takes_per_phrase),
            spoken(missed, other, near_misses),
            () if readers else (phrase,),
        )
        steps.advance()
        return made

    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="take") as pool:
        made = list(pool.map(synthesized, phrases))
    unread = tuple(phrase for each in made for phrase in each.unread)
    if unread and len(unread) == len(phrases):
        raise _unavailable(
            f"dataset.synthesize: no voice of espeak-ng for the language {language} can read any phrase, such as {unread[0]!r}: "
            "espeak-ng would spell them in English or omit the vowels; name other voices in dataset.synthesize.voices, or "
            "remove dataset.synthesize"
        )
    return Synthesized(
        [take for each in made for take in each.takes], [take for each in made for take in each.near_misses], unread
    )


def _readers(voices: Sequence[str], text: str) -> list[str]:
    """Return the voices that read the letters of `text` in their own language."""
    return [voice for voice in voices if _reads(voice.partition("+")[0], regex.sub(r"\p{Latin}+", " ", text))]


@lru_cache(maxsize=10_000)
def _reads(accent: str, text: str) -> bool:
    """Return True when espeak-ng reads `text`, which has no Latin letters, in the language of an accent. Its phonemes
    name another language that it switches to, as `(en)`.
    """
    if accent.partition("-")[0] in WITHOUT_VOWELS:
        return False
    if not regex.search(r"\p{L}", text):
        return True  # of Latin letters alone, in which loanwords are read as in English by intention
    return not regex.search(
        r"\([a-z-]+\)", _espeak("-q", "-x", "-v", accent, "--stdin", text=text).decode(errors="replace")
    )


def _take(
    text: Text, chance: random.Random, voices: Sequence[str], model: PreparedClip, folder: Path, dbfs: float | None
) -> PreparedClip | None:
    """Return one take, or None when it is too short for CTC."""
    voice, speed, pitch = chance.choice(voices), chance.randint(SLOWEST, FASTEST), chance.randint(LOWEST, HIGHEST)
    wav = _espeak("-v", voice, "-s", str(speed), "-p", str(pitch), "--stdin", "--stdout", text=text.spoken)
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max(initial=1e-9))
    samples = samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]
    width = min(model.file.source.sample_rate, SAMPLE_RATE)
    samples = soxr.resample(soxr.resample(samples, rate, width), width, SAMPLE_RATE)
    pcm: Pcm = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    if len(pcm) < WINDOW or frame_count(len(pcm)) < frames_needed(text.transcript):
        return None
    name = f"{voice} {speed} {pitch}"
    recording = Recording(NAME, 0, "", folder, name, text.transcript, Part.TRAIN)
    clip = write_clip(level(pcm, dbfs), folder, AudioInfo(width, 1, len(pcm), "espeak-ng"))
    return PreparedClip(recording, text.transcript, clip, Part.TRAIN)


def _voices(chosen: Synthesis, language: str) -> list[str]:
    """Return the names of the voices, which espeak-ng has."""
    if shutil.which(PROGRAM) is None:
        raise _unavailable(
            "dataset.synthesize needs the program espeak-ng, which is not installed; install it "
            "(on Debian: apt-get install espeak-ng), or remove dataset.synthesize"
        )
    variants = [file.removeprefix("!v/") for _, file in _listed("variant")]
    if chosen.voices != AUTO:
        for voice in chosen.voices:
            _require_voice(voice, variants)
        return list(chosen.voices)
    accents = _accents(language.lower())
    if not accents:
        raise _unavailable(
            f"dataset.synthesize: espeak-ng has no voice for the language {language}; name voices of a similar language "
            "in dataset.synthesize.voices (`espeak-ng --voices` lists them), or remove dataset.synthesize"
        )
    known = [variant for variant in VARIANTS.split() if variant in variants]
    return [*accents, *(f"{accent}+{variant}" for accent in accents for variant in known)]


def _require_voice(voice: str, variants: Sequence[str]) -> None:
    """Raise BadConfiguration unless espeak-ng has the voice. It takes an unknown variant for none."""
    base, _, variant = voice.partition("+")
    known = subprocess.run([PROGRAM, "-v", base, "-q", "a"], capture_output=True).returncode == 0
    if not known or (variant and variant not in variants):
        raise _unavailable(
            f"dataset.synthesize.voices: espeak-ng has no voice {voice}; use names that `espeak-ng --voices` and "
            "`espeak-ng --voices=variant` list"
        )


def _accents(tag: str) -> list[str]:
    """Return the voices for a language: of its region if there are any, or all of them."""
    for wanted in (tag, tag.partition("-")[0]):
        # MBROLA's voices are listed, and need files of their own
        names = [name for name, file in _listed(wanted) if name != "variant" and not file.startswith("mb/")]
        regional = [name for name in names if "-" in tag and f"{name}-".startswith(f"{tag}-")]
        if names:
            language = names[0].partition("-")[0]
            return sorted({*(regional or (name for name in names if name.partition("-")[0] == language))})
    return []


def _listed(language: str) -> list[tuple[str, str]]:
    """Return name and file of the voices that espeak-ng lists for a language, the best first."""
    listed = _espeak(f"--voices={language}").decode(errors="replace").splitlines()[1:]
    rows = [line.split(maxsplit=4) for line in listed]
    return [(row[1], row[4].split("(")[0].strip()) for row in rows if len(row) == 5]


def _espeak(*arguments: str, text: str = "") -> bytes:
    done = subprocess.run([PROGRAM, *arguments], input=text.encode(), capture_output=True)
    if done.returncode:
        problem = done.stderr.decode(errors="replace").strip()
        raise _unavailable(
            f"dataset.synthesize: espeak-ng ended with {done.returncode} ({problem}); use another voice, or remove "
            "dataset.synthesize"
        )
    return done.stdout


def _unavailable(message: str) -> BadConfiguration:
    return BadConfiguration(Reason.SYNTHESIS_UNAVAILABLE, message)
