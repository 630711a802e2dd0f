"""Processor time of decoding by a grammar against libdeepspeech on the same clips, in alternation, and of compiling grammars.

    PYTHONPATH=tests python -m bench.grammar_bench [runs]

Both chains go from samples to text: features, network and search. libdeepspeech runs with its default beam width of 500.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from speechmodel_api.stages.decoders import Calibration
from speechmodel_decoding import AcousticModel, Recogniser
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Model, Pcm, load, read_graph, seconds
from support.places import FIXTURES

PHRASES = ("ok espejo", "hola espejo", "vale espejo", "espejo", "[espejo] llama a mi (hija|hijo|nuera)")
SENTENCES = (1_000, 10_000, 100_000)


def main(runs: int) -> None:
    """Measure and print."""
    clips = [load(path) for path in sorted((FIXTURES / "clips").glob("*.wav"))]
    with tempfile.TemporaryDirectory() as folder:
        chains = _chains(Path(folder))
        took: dict[str, list[float]] = {name: [] for name in chains}
        for _ in range(runs):
            for name, chain in chains.items():
                took[name].append(_processor_seconds(chain, clips))
    audio = sum(seconds(len(clip)) for clip in clips)
    base = median(took["libdeepspeech"])
    print(f"samples to text, {len(clips)} clips, {audio:.0f} s of audio, {runs} alternating runs")
    for name, each in took.items():
        print(f"{name:16}{median(each) / audio:9.4f} s for each s of audio, {base / median(each):5.1f} times cheaper")
    for count in SENTENCES:
        print(f"{count:9,} unstructured sentences compiled in {_compile(count):6.2f} s")


def _chains(folder: Path) -> dict[str, Callable[[Pcm], object]]:
    memory_map(FIXTURES / "tf2_128.pb", folder / "output_graph.pbmm")
    export_acoustic_model(FIXTURES / "tf2_128.pb", folder / "acoustic.onnx")
    alphabet = [label.decode() for label in read_graph(FIXTURES / "tf2_128.pb").labels]
    grammar = compile_grammar([], alphabet, templates=PHRASES)
    calibration = Calibration(threshold=-0.05, offset=-2.0, slope=1.5, word_offset=-2.0, word_slope=1.5)
    recogniser = Recogniser(AcousticModel(folder / "acoustic.onnx"), grammar, calibration)
    return {"libdeepspeech": Model(folder / "output_graph.pbmm").transcribe, "grammar": recogniser.recognise}


def _processor_seconds(chain: Callable[[Pcm], object], clips: list[Pcm]) -> float:
    start = time.process_time()
    for clip in clips:
        chain(clip)
    return time.process_time() - start


def _compile(count: int) -> float:
    draw = random.Random(1)
    letters = " abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters[1:], k=draw.randint(2, 9))) for _ in range(4_000)]
    sentences = [" ".join(draw.choices(words, k=draw.randint(3, 5))) for _ in range(count)]
    start = time.process_time()
    compile_grammar(sentences, tuple(letters))
    return time.process_time() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
