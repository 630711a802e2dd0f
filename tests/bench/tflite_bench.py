"""Word errors of the .tflite file beside those of the .pbmm, in free text, on the clips that the example never trained on.

    PYTHONPATH=tests python -m bench.tflite_bench [workspace]

Trains the example with `publish.tflite` first, unless the workspace of a local run with that field is given. The clips are those of
the test part, and the held-out ones of voices in training. All programs have their own defaults and no scorer.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jiwer
import yaml
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.words import folded
from speechmodel_stagekit.dataset import Part, open_dataset
from support import stock_deepspeech, tflite
from support.places import EXAMPLE
from support.workplace import COMMAND

PARTS = {"test": Part.TEST, "known voices": Part.SEEN}
PROGRAMS = {
    "deepspeech 0.9.3": ("deepspeech", ".pbmm"),
    "deepspeech-tflite 0.9.3": ("deepspeech", ".tflite"),
    "stt 1.4.0": ("stt", ".tflite"),
}


def main(workspace: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        found = workspace or _train(Path(folder))
        (tflite_file,) = found.glob("exports/*/output_graph.tflite")
        (data,) = found.glob("data/*")
        parts = {name: open_dataset(data).clips(part) for name, part in PARTS.items()}
        clips = [clip for part in parts.values() for clip in part]
        texts = {
            program: _texts(module, tflite_file.with_suffix(suffix), [clip.path for clip in clips])
            for program, (module, suffix) in PROGRAMS.items()
        }
    of_pbmm = texts["deepspeech 0.9.3"]
    print(
        f"{'':26}"
        + "".join(f"{f'{name}: {len(part)} clips':>28}" for name, part in parts.items())
        + f"{'other texts':>14}"
    )
    for program, heard in texts.items():
        rest, rates = list(heard), ""
        for part in parts.values():
            mine, rest = rest[: len(part)], rest[len(part) :]
            words = jiwer.process_words([folded(clip.transcript) for clip in part], [folded(text) for text in mine])
            errors = words.substitutions + words.deletions + words.insertions
            rates += f"{f'WER {words.wer:.2%} ({errors} errors)':>28}"
        print(f"{program:26}{rates}{sum(one != other for one, other in zip(heard, of_pbmm, strict=True)):14}")


def _train(folder: Path) -> Path:
    """Return the workspace of the example."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".speechmodel"), dirs_exist_ok=True)
    path = folder / "speechmodel.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    manifest["spec"]["publish"]["tflite"] = True
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    subprocess.run([*COMMAND, "run", path.name], cwd=folder, check=True)
    return folder / ".speechmodel" / "espejo" / "workspace"


def _texts(module: str, model: Path, clips: Sequence[Path]) -> list[str]:
    """Return the text of each clip without the character for foreign speech."""
    python = stock_deepspeech.environment() / "bin" / "python" if model.suffix == ".pbmm" else tflite.runtimes()
    return [each.text.replace(CATCH_ALL, "").strip() for each in tflite.hear(python, module, model, clips)]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
