"""Make the recordings of this example: `.venv/bin/python -m examples.espejo.make_dataset`.

Every voice says every phrase, at a speed and pitch of its own, and the phrase that wakes the mirror twice; the voices in
`heard/` are in no training recording. Half of the training recordings came through a good microphone (16 kHz), half through a
telephone (8 kHz), so that the model understands both. They are u-law, 8 bits a sample, which a repository bears better than 16;
those in `heard/` are as any tool plays them.
"""

from pathlib import Path

import soundfile
import soxr
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime.audio import save

from examples.speech import empty_folder, require_voices, say, write_table

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
"""Languages of Spain and of Latin America: voices alternate."""
TRAINING_VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f5", "adam", "Alex", "Andy", "Annie", "aunty", "belinda",
    "boris", "caleb", "david", "Denis", "ed", "edward", "Gene", "Henrique",
)  # fmt: skip
HEARD_VOICES = ("f4", "m6", "linda")
"""Two women and a man who are in no training recording."""
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
"""Pitches of 0 to 99; 50 is the voice's own."""
RATES = (SAMPLE_RATE, 8_000)
"""Hz, of a microphone and of a telephone: voices alternate."""


def main() -> None:
    """Write all recordings and tables again."""
    require_voices(*TRAINING_VOICES, *HEARD_VOICES)
    _train()
    _heard()


def _train() -> None:
    folder = empty_folder(DATASET / "original" / "es")
    for number, voice in enumerate(TRAINING_VOICES):
        for order, (name, phrase) in enumerate(PHRASES.items()):
            for take in range(2 if name == WAKING else 1):
                speed = SPEEDS[(number + order + take) % len(SPEEDS)]
                pitch = PITCHES[(number + order // 2 + take) % len(PITCHES)]
                pcm = say(phrase, f"{ACCENTS[number % 2]}+{voice}", speed, pitch)
                rate = RATES[(number + take) % 2]
                samples = pcm if rate == SAMPLE_RATE else soxr.resample(pcm, SAMPLE_RATE, rate)
                file = f"{name}_{voice.lower()}{'-again' if take else ''}.wav"
                soundfile.write(folder / file, samples, rate, subtype="ULAW")
    write_table(DATASET / "commands.csv", ("id", "es"), PHRASES.items())


def _heard() -> None:
    folder = empty_folder(HEARD)
    rows = []
    for number, voice in enumerate(HEARD_VOICES):
        for name, phrase in PHRASES.items():
            file = f"{name}_{voice.lower()}.wav"
            pcm = say(phrase, f"{ACCENTS[number % 2]}+{voice}", speed=155, pitch=50)
            save(folder / file, pcm)
            rows.append((file, voice.lower(), phrase))
    for voice, (name, (language, sentence)) in zip(HEARD_VOICES, OTHER_SENTENCES.items(), strict=True):
        file = f"{name}_{voice.lower()}.wav"
        save(folder / file, say(sentence, f"{language}+{voice}", speed=155, pitch=50))
        rows.append((file, voice.lower(), ""))
    write_table(folder / "heard.csv", ("file", "voice", "transcript"), rows)


if __name__ == "__main__":
    main()
