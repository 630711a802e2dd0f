"""Synthesizes the built-in negatives: words of no language, spoken by many voices of espeak-ng.

    .venv/bin/python tools/synthesize_negatives.py

needs the program espeak-ng, and writes `negatives.ogg` and `negatives.csv` to the package
speechmodel_pipeline.prepare.negatives. The words are drawn by a fixed seed. The audio also depends
on the version of espeak-ng, so both files are committed.
"""

import csv
import io
import random
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

FOLDER = Path(__file__).parents[1] / "packages/pipeline/src/speechmodel_pipeline/prepare/negatives"
RATE = 16_000
WORDS = 720
SHORTEST, LONGEST = 0.4, 1.5
"""Seconds of a word."""
QUIET = 0.01
"""Share of the peak below which the beginning and the end of a word are cut."""
GAP = RATE // 20
"""Samples of silence between words."""

LANGUAGES = (
    "af bg ca cs cy da de el en-gb en-us eo es es-419 et eu fi fr-fr ga hi hr hu id is it lt lv mk ms nb nl pl "
    "pt pt-br ro ru sk sl sq sr sv sw ta tr uk vi"
)
VARIANTS = "+m1 +m2 +m3 +m4 +m5 +m6 +m7 +f1 +f2 +f3 +f4 +f5 +croak +whisper"
ONSETS = "b d f g h j k l m n p r s t v z bl br dr fl gr kl kr pl pr sk sl sp st tr ch"
VOWELS = "a e i o u a e i o u ai au ei oi ou"
CODAS = "- - - l m n r s t p nd st"
"""A hyphen is no coda."""


def main() -> None:
    """Write the two files."""
    chance = random.Random(0)  # noqa: S311 - no secret
    languages, variants = LANGUAGES.split(), VARIANTS.split()
    rows: list[dict[str, int | str]] = []
    parts: list[npt.NDArray[np.float32]] = []
    position = 0
    while len(rows) < WORDS:
        voice = languages[len(rows) % len(languages)] + chance.choice(variants)
        text = "".join(syllable(chance) for _ in range(chance.randint(1, 4)))
        word = spoken(text, voice, speed=chance.randint(110, 220), pitch=chance.randint(20, 80))
        if not SHORTEST <= len(word) / RATE <= LONGEST:
            continue
        rows.append({"start": position, "samples": len(word), "voice": voice, "text": text})
        parts += [word, np.zeros(GAP, np.float32)]
        position += len(word) + GAP
    FOLDER.mkdir(parents=True, exist_ok=True)
    soundfile.write(FOLDER / "negatives.ogg", np.concatenate(parts), RATE, format="OGG", subtype="OPUS")
    with (FOLDER / "negatives.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["start", "samples", "voice", "text"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def syllable(chance: random.Random) -> str:
    """Return an onset, a vowel and a coda."""
    parts = (chance.choice(ONSETS.split()), chance.choice(VOWELS.split()), chance.choice(CODAS.split()))
    return "".join(parts).replace("-", "")


def spoken(text: str, voice: str, *, speed: int, pitch: int) -> npt.NDArray[np.float32]:
    """Return `text` at RATE with a peak of 0.5, without the silence around it. `speed` is in words
    per minute, `pitch` from 0 to 99.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max(initial=1e-9))
    word = soxr.resample(samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0], rate, RATE)
    scaled: npt.NDArray[np.float32] = (word / (2 * np.abs(word).max(initial=1e-9))).astype(np.float32)
    return scaled


if __name__ == "__main__":
    main()
