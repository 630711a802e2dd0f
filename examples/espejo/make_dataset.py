"""Make the recordings of this example: `python examples/espejo/make_dataset.py` (needs espeak-ng 1.51, Debian's package).

The same version of espeak-ng gives the same bytes. Every voice says every phrase, at a speed and pitch of its own, and the
phrase that wakes the mirror twice; the voices in `heard/` are in no training recording. Half of the training recordings came
through a good microphone (16 kHz), half through a telephone (8 kHz), so that the model understands both. They are u-law, 8 bits
a sample, which a repository bears better than 16; those in `heard/` are as any tool plays them.
"""

import csv
import io
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime.audio import Pcm, load, save

HERE = Path(__file__).parent
DATASET = HERE / "espejo-dataset"
HEARD = HERE / "heard"

PHRASES = {
    "ok-espejo": "ok espejo",
    "hola-espejo": "hola espejo",
    "llama-a-mi-hija": "llama a mi hija",
    "llama-a-mi-hijo": "llama a mi hijo",
    "enciende-la-luz": "enciende la luz",
    "apaga-la-luz": "apaga la luz",
    "que-hora-es": "qué hora es",
    "pon-musica": "pon música",
    "para-la-musica": "para la música",
    "sube-el-volumen": "sube el volumen",
    "baja-el-volumen": "baja el volumen",
    "buenas-noches": "buenas noches",
}
ACCENTS = ("es", "es-419")
"""Of Spain and of Latin America: voices alternate."""
TRAINING_VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f5", "adam", "Alex", "Andy", "Annie", "aunty", "belinda",
    "boris", "caleb", "david", "Denis", "ed", "edward", "Gene", "Henrique",
)  # fmt: skip
HEARD_VOICES = ("f4", "m6", "linda")
"""Two women and a man whom training never hears."""
OTHER_SENTENCES = {
    "manana-va-a-llover": ("es", "mañana va a llover toda la tarde"),
    "donde-esta-la-biblioteca": ("es", "dónde está la biblioteca"),
    "how-are-you": ("en", "how are you today"),
}
"""Sentences that are no phrase of the mirror, with their languages: it must answer with nothing."""
WAKING = "ok-espejo"
SPEEDS = (150, 170, 185, 160)
"""Words a minute."""
PITCHES = (50, 38, 62)
"""Of 99; 50 is the voice's own."""
PEAK, SILENCE = 16_000, 160
"""Loudest sample, and the loudest that still counts as silence."""
RATES = (SAMPLE_RATE, 8_000)
"""Hz, of a microphone and of a telephone: voices alternate."""
MARGIN = SAMPLE_RATE // 20
"""Samples of silence kept before and after the words."""


def main() -> None:
    """Write all recordings and tables again."""
    _require_voices()
    _train()
    _heard()


def _train() -> None:
    folder = _empty(DATASET / "original" / "es")
    for number, voice in enumerate(TRAINING_VOICES):
        for order, (name, phrase) in enumerate(PHRASES.items()):
            for take in range(2 if name == WAKING else 1):
                speed = SPEEDS[(number + order + take) % len(SPEEDS)]
                pitch = PITCHES[(number + order // 2 + take) % len(PITCHES)]
                pcm = _say(phrase, f"{ACCENTS[number % 2]}+{voice}", speed, pitch)
                rate = RATES[(number + take) % 2]
                samples = pcm if rate == SAMPLE_RATE else soxr.resample(pcm, SAMPLE_RATE, rate)
                file = f"{name}_{voice.lower()}{'-again' if take else ''}.wav"
                soundfile.write(folder / file, samples, rate, subtype="ULAW")
    _write_table(DATASET / "commands.csv", ("id", "es"), PHRASES.items())


def _heard() -> None:
    folder = _empty(HEARD)
    rows = []
    for number, voice in enumerate(HEARD_VOICES):
        for name, phrase in PHRASES.items():
            file = f"{name}_{voice.lower()}.wav"
            pcm = _say(phrase, f"{ACCENTS[number % 2]}+{voice}", speed=155, pitch=50)
            save(folder / file, pcm)
            rows.append((file, voice.lower(), phrase))
    for voice, (name, (language, sentence)) in zip(HEARD_VOICES, OTHER_SENTENCES.items(), strict=True):
        file = f"{name}_{voice.lower()}.wav"
        save(folder / file, _say(sentence, f"{language}+{voice}", speed=155, pitch=50))
        rows.append((file, voice.lower(), ""))
    _write_table(folder / "heard.csv", ("file", "voice", "transcript"), rows)


def _say(phrase: str, voice: str, speed: int, pitch: int) -> Pcm:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", phrase]
    spoken = load(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout), name=voice)
    scaled = spoken.astype(np.float64) * PEAK / np.abs(spoken.astype(np.int32)).max()
    loud = np.flatnonzero(np.abs(scaled) > SILENCE)
    pcm: Pcm = scaled[max(0, loud[0] - MARGIN) : loud[-1] + MARGIN].astype(np.int16)
    return pcm


def _require_voices() -> None:
    """espeak-ng says nothing about a voice that it does not have, and speaks with its usual one."""
    listed = subprocess.run(["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True).stdout
    known = {line.split("!v/")[1].split("  ")[0].strip() for line in listed.splitlines() if "!v/" in line}
    if missing := {*TRAINING_VOICES, *HEARD_VOICES} - known:
        raise SystemExit(f"this espeak-ng lacks the voices {', '.join(sorted(missing))}; install espeak-ng 1.51")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
