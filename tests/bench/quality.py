"""How many words of people that a model never heard are right, wrong or rejected.

    make quality RECORDINGS=recordings ARGS="--speaker anna --foreign other-speech"

The recordings are `<id>_<speaker>_<take>.wav`, or `<speaker>/<id>_<take>.wav`. The ids are the
transcripts, or `--words 0=zero,1=one` names them. One speaker after the other is left out, or with
`--speaker anna,ben` or `--together 2` several at once: the stage programs prepare, train, convert and
evaluate on the others, and each speaker's clips are measured as they are and changed by the
augmentations of CONDITIONS. A clip is what a server answers with the
transcripts as its grammar: its level is changed to that of training, and nothing is answered below
the threshold of evaluate.

PocketSphinx with a grammar of the same words is measured beside it when it is installed and the
recordings are English: `.venv/bin/pip install pocketsphinx`.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from speechmodel_api.augmentation import parse
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import INPUT_VARIABLE, RESULT_VARIABLE, StageInput
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, PHRASES, Workspace
from speechmodel_decoding import AcousticModel, Grammar, Recogniser
from speechmodel_pipeline.evaluate.grammar import decide
from speechmodel_pipeline.prepare.audio_files import audio_files
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs, OutputT, Stage
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Owner, Task
from speechmodel_runtime import Pcm, level, load, save
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.dataset import Part, open_dataset
from speechmodel_training.augmentation import Augmenter

CONDITIONS = {
    "as recorded": (),
    "-12 dB": ("gain[db=-12]",),
    "-20 dB": ("gain[db=-20]",),
    "babble 20 dB": ("overlay[snr=20,layers=3]",),
    "babble 10 dB": ("overlay[snr=10,layers=3]",),
    "8 kHz mu-law": ("telephone[lowest=0]",),
    "mp3 32 kbit/s": ("codec[bitrate=32000]",),
}
DEV_EVERY = 10
"""One of so many clips of the speakers in training chooses the epoch."""
MARGIN = 4800
"""Samples of silence around a measured clip: 0.3 s."""

Recognise = Callable[[Pcm, Sequence[str]], str]
"""Clip and augmentations -> a transcript of the set, or nothing."""


@dataclass(frozen=True)
class Take:
    """A recording of a speaker."""

    path: Path
    speaker: str
    words: str


@dataclass(frozen=True)
class Model:
    """A trained model with its grammar and its threshold."""

    recogniser: Recogniser
    speech_level: float | None
    """Loudness that recordings are brought to, in dBFS."""
    negatives: tuple[Path, ...]
    """Clips of words that training never heard, none of them a transcript."""

    def recognise(self, pcm: Pcm, words: Sequence[str]) -> str:
        """Return the phrase that a server would answer with, or nothing."""
        del words
        return decide(self.recogniser, level(pcm, self.speech_level), self.speech_level).text


def main() -> None:
    """Measure every speaker, or those of --speaker, one training for each group that is left out."""
    arguments = _arguments()
    names = dict(pair.split("=", 1) for pair in arguments.words.split(",")) if arguments.words else {}
    takes = read_takes(arguments.recordings, names)[:: arguments.every]
    speakers = sorted({take.speaker for take in takes})
    if len(speakers) < 2:
        sys.exit(f"{arguments.recordings}: has {len(speakers)} speakers; leaving one out needs at least two")
    foreign = recordings_in(arguments.foreign) if arguments.foreign else []
    require_readable([*(take.path for take in takes), *foreign])
    print("| speaker | engine | condition | clips | right | wrong | rejected |\n|---|---|---|---|---|---|---|")
    words = sorted({take.words for take in takes})
    for group in left_out(arguments.speaker, speakers, arguments.together):
        others = [take for take in takes if take.speaker not in group]
        with tempfile.TemporaryDirectory() as folder:
            voices = write_voices(others[:: max(len(others) // 50, 1)], Path(folder) / "voices")
            model = train(others, Path(folder), arguments)
            engines: dict[str, Recognise] = {"SpeechModel": model.recognise}
            if find_spec("pocketsphinx"):
                engines["PocketSphinx"] = pocketsphinx(words)
            for engine, recognise in engines.items():
                for speaker in group:
                    heard = [take for take in takes if take.speaker == speaker]
                    measure(speaker, engine, recognise, heard, voices, words)
                for kind, paths in {"negatives": model.negatives, "foreign": foreign}.items():
                    measure_other("+".join(group), engine, kind, recognise, paths, words)


def left_out(given: Sequence[str] | None, speakers: Sequence[str], together: int) -> list[list[str]]:
    """Return the groups of speakers, each of which is left out of a training."""
    groups = [group.split(",") for group in given or ()]
    groups = groups or [list(speakers[first : first + together]) for first in range(0, len(speakers), together)]
    for group in groups:
        if unknown := set(group) - set(speakers):
            sys.exit(f"--speaker: there is no speaker {', '.join(sorted(unknown))}, but {', '.join(speakers)}")
        if not set(speakers) - set(group):
            sys.exit(f"leaving out {', '.join(group)} leaves nobody to train on; name fewer speakers together")
    return groups


def measure(
    speaker: str,
    engine: str,
    recognise: Recognise,
    heard: Sequence[Take],
    voices: Sequence[Path],
    words: Sequence[str],
) -> None:
    """Print a row for every condition. Babble is made of the clips `voices`."""
    for condition, entries in CONDITIONS.items():
        augmenter = Augmenter([parse(entry) for entry in entries], seed=0, voices=voices)
        counts: Counter[str] = Counter()
        for index, take in enumerate(heard):
            recording = np.pad(load(take.path), MARGIN)  # people talk in the room before and after the words too
            changed = augmenter.sound(recording, clip=len(voices) + index, epoch=0).samples
            text = recognise((changed * 2**15).astype(np.int16), words)
            counts["right" if text == take.words else "wrong" if text else "rejected"] += 1
        row(speaker, engine, condition, counts)


def measure_other(
    speakers: str, engine: str, kind: str, recognise: Recognise, paths: Sequence[Path], words: Sequence[str]
) -> None:
    """Print a row for clips that hold none of the words."""
    texts = [recognise(np.pad(load(path), MARGIN), words) for path in paths]
    if texts:
        row(speakers, engine, kind, Counter("wrong" if text else "rejected" for text in texts))


def row(speaker: str, engine: str, condition: str, counts: Counter[str]) -> None:
    """Print a row of the table."""
    total = counts.total()
    shares = " | ".join(f"{100 * counts[kind] / total:.1f} %" for kind in ("right", "wrong", "rejected"))
    print(f"| {speaker} | {engine} | {condition} | {total} | {shares} |", flush=True)


def read_takes(folder: Path, names: dict[str, str]) -> list[Take]:
    """Return the recordings of a folder in one of the two layouts."""
    takes = []
    for path in recordings_in(folder):
        parts = path.stem.split("_")
        if path.parent == folder and len(parts) < 3:
            sys.exit(f"{path}: is not named <id>_<speaker>_<take>, and not in the folder of a speaker")
        speaker = parts[-2] if path.parent == folder else path.relative_to(folder).parts[0]
        identity = "_".join(parts[:-2] if path.parent == folder else parts[:-1] or parts)
        takes.append(Take(path, speaker, names.get(identity, identity.replace("-", " "))))
    return takes


def recordings_in(folder: Path) -> list[Path]:
    """Return the files that prepare would read."""
    try:
        return audio_files(folder)
    except OSError as error:
        sys.exit(f"{folder}: cannot be read ({error.strerror}); name a folder of recordings")


def require_readable(paths: Sequence[Path]) -> None:
    """End with the files that cannot be read, before hours of training are lost to one of them."""
    problems = []
    for path in paths:
        try:
            load(path)
        except (AudioError, OSError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        sys.exit("\n".join((f"{len(problems)} recordings cannot be measured; replace or remove them:", *problems)))


def train(takes: Sequence[Take], folder: Path, arguments: argparse.Namespace) -> Model:
    """Return a model of these takes, made by the stage programs from prepare to evaluate."""
    source = folder / "recordings"
    source.mkdir()
    for part, chosen in (
        ("train", [take for index, take in enumerate(takes) if index % DEV_EVERY]),
        ("dev", takes[::DEV_EVERY]),
    ):
        with (source / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["wav_filename", "wav_filesize", "transcript"])
            writer.writerows([take.path.resolve(), take.path.stat().st_size, take.words] for take in chosen)
    task = Task(Owner("default", "quality", ""), _spec(arguments), PurePosixPath(folder), PurePosixPath(source))
    done = Outputs()
    stages: tuple[Stage[Any], ...] = (PREPARE, TRAIN, CONVERT, EVALUATE)
    for stage in stages:
        done = done.plus(stage, _output(stage, stage.document(task, 1, done), folder))
    workspace, evaluated = Workspace(folder), done.of(EVALUATE)
    assert evaluated.grammar is not None
    network = PHRASES if evaluated.grammar.embedded else ACOUSTIC
    data = open_dataset(workspace.data(PREPARE.key(task, done)))
    content = (workspace.report(EVALUATE.key(task, done)) / GRAMMAR).read_bytes()
    return Model(
        Recogniser(
            AcousticModel(workspace.export(CONVERT.key(task, done)) / network),
            Grammar.from_bytes(content, data.alphabet()),
            evaluated.grammar.calibration,
        ),
        data.speech_level,
        tuple(clip.path for clip in data.clips(Part.NEGATIVES)),
    )


def _spec(arguments: argparse.Namespace) -> SpeechModelSpec:
    given = {
        "hiddenUnits": arguments.units,
        "batchSize": arguments.batch,
        "learningRate": arguments.rate,
        "dropout": arguments.dropout,
    }
    return SpeechModelSpec.model_validate(
        {
            "language": arguments.language,
            "dataset": {
                "source": {"persistentVolumeClaim": {"claimName": "recordings"}},
                "format": "DeepSpeechCSV",
                "synthesize": {"takesPerPhrase": arguments.takes} if arguments.takes else None,
            },
            "training": {
                "maxEpochs": arguments.epochs,
                "hyperparameters": {k: v for k, v in given.items() if v is not None},
            },
            "decoding": {"grammar": "Dataset"},
            "publish": {"s3": {"bucket": "unused"}},
        }
    )


def write_voices(takes: Sequence[Take], folder: Path) -> list[Path]:
    """Write takes as clips for babble."""
    folder.mkdir()
    for index, take in enumerate(takes):
        save(folder / f"{index}.wav", load(take.path))
    return sorted(folder.iterdir())


def pocketsphinx(words: Sequence[str]) -> Recognise:
    """Return PocketSphinx with its English model and a grammar of `words`."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16000, lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("words", f"#JSGF V1.0; grammar g; public <words> = {' | '.join(words)};")
    decoder.activate_search("words")

    def recognise(pcm: Pcm, words: Sequence[str]) -> str:
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis and hypothesis.hypstr in words else ""

    return recognise


def _output(stage: Stage[OutputT], document: StageInput, folder: Path) -> OutputT:
    """Return the output of a stage program, or end with its error."""
    result, log = folder / "result.json", folder / f"{stage.name}.log"
    environment = os.environ | {INPUT_VARIABLE: document.model_dump_json(by_alias=True), RESULT_VARIABLE: str(result)}
    with log.open("wb") as file:
        code = subprocess.run(
            [sys.executable, "-P", "-m", stage.program], env=environment, stdout=file, stderr=file
        ).returncode
    if code:
        sys.exit(f"{stage.program} ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
    return stage.output_type.model_validate(json.loads(result.read_text())["output"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Leave one speaker out, and count what is right.")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--speaker", action="append", help="leave out only this one, or a,b together; may be repeated")
    parser.add_argument("--together", type=int, default=1, help="speakers that one training leaves out")
    parser.add_argument("--foreign", type=Path, help="folder of speech that is none of the words")
    parser.add_argument("--words", help="transcripts of the ids, such as 0=zero,1=one")
    parser.add_argument("--language", default="en")
    parser.add_argument("--epochs", type=int, help="epochs; chosen from the dataset if left out")
    parser.add_argument("--units", type=int, help="hidden units; chosen from the dataset if left out")
    parser.add_argument("--batch", type=int, help="clips in each step; chosen from the dataset if left out")
    parser.add_argument("--rate", type=float, help="learning rate; chosen from the dataset if left out")
    parser.add_argument("--dropout", type=float, help="dropout; chosen from the dataset if left out")
    parser.add_argument("--takes", type=int, default=0, help="synthetic takes of each phrase in training")
    parser.add_argument("--every", type=int, default=1, help="use one of so many recordings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
