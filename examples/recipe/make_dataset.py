"""Make the recordings of this example: `.venv/bin/python -m examples.recipe.make_dataset`.

They have the names of the recipe for training DeepSpeech on a few phrases:
`shapes_<hash>_2_3_000000_<id>_<take>.wav`. A hash stands for one recording.
"""

import hashlib
from pathlib import Path

from speechmodel_runtime.audio import save

from examples.speech import empty_folder, require_voices, say, write_table

DATASET = Path(__file__).parent / "recipe-dataset"

PHRASES = (
    "ok espejo",
    "hola espejo",
    "espejo",
    "vale espejo",
    "llama a mi hija",
    "espejo llama a mi hijo",
    "espejo llama a mi nuera",
)
TAKES = (3, 3, 3, 3, 3, 2, 2)
"""Recordings of each phrase."""
VOICES = ("m1", "f2", "m3")
"""Voice of each take."""


def main() -> None:
    """Write all recordings and the table again."""
    require_voices(*VOICES)
    folder = empty_folder(DATASET / "original" / "es")
    for id_, (phrase, takes) in enumerate(zip(PHRASES, TAKES, strict=True), 1):
        for take, voice in enumerate(VOICES[:takes], 1):
            pcm = say(phrase, f"es+{voice}", speed=150, pitch=50)
            digest = hashlib.md5(pcm.tobytes(), usedforsecurity=False).hexdigest()
            save(folder / f"shapes_{digest}_2_3_000000_{id_}_{take:03}.wav", pcm)
    write_table(DATASET / "commands.csv", ("id", "es"), ((str(id_), phrase) for id_, phrase in enumerate(PHRASES, 1)))


if __name__ == "__main__":
    main()
