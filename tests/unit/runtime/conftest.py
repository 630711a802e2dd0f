"""The fixture model in both forms, and graphs that differ from it in one node."""

import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from speechmodel_pipeline.graphdef.encode import bytes_field, number_field
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Model
from speechmodel_runtime.wire import Span, WireReader

FIXTURES = Path(__file__).parents[2] / "fixtures" / "deepspeech"
INT32, STRING = 3, 7


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return FIXTURES


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "output_graph.pbmm"
    memory_map(FIXTURES / "tf2_128.pb", path)
    return path


@pytest.fixture(scope="session")
def model(mapped: Path) -> Iterator[Model]:
    with Model(mapped) as model:
        yield model


@pytest.fixture
def own_copy(mapped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(mapped, tmp_path / "own.pbmm"))


class Variants:
    """Copies of the fixture graph in which one constant is another, or a node is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def without(self, node: str) -> Path:
        return self._write(node, b"")

    def with_integer(self, node: str, value: int) -> Path:
        return self._write(node, _constant(node, INT32, number_field(7, value)))

    def with_alphabet(self, labels: Sequence[str]) -> Path:
        blob = struct.pack("<H", len(labels))
        for index, label in enumerate(labels):
            blob += struct.pack("<HH", index, len(label.encode())) + label.encode()
        return self.with_alphabet_blob(blob)

    def with_alphabet_blob(self, blob: bytes) -> Path:
        return self._write("metadata_alphabet", _constant("metadata_alphabet", STRING, bytes_field(8, blob)))

    def _write(self, name: str, node: bytes) -> Path:
        target = self._folder / "variant.pb"
        with (FIXTURES / "tf2_128.pb").open("rb") as file, target.open("wb") as out:
            reader = WireReader(file)
            for number, value in reader.fields(Span(0, reader.size)):
                assert isinstance(value, Span)
                raw = reader.read(value)
                if number == 1 and raw.startswith(bytes_field(1, name.encode())):
                    raw = node
                if raw:
                    out.write(bytes_field(number, raw))
        return target


@pytest.fixture
def variants(tmp_path: Path) -> Variants:
    return Variants(tmp_path)


def _constant(name: str, dtype: int, value: bytes) -> bytes:
    """A NodeDef of op Const with a tensor of the shape [1]."""
    shape = bytes_field(2, bytes_field(2, number_field(1, 1)))
    tensor = bytes_field(8, number_field(1, dtype) + shape + value)
    attributes = bytes_field(5, bytes_field(1, b"dtype") + bytes_field(2, number_field(6, dtype)))
    attributes += bytes_field(5, bytes_field(1, b"value") + bytes_field(2, tensor))
    return bytes_field(1, name.encode()) + bytes_field(2, b"Const") + attributes
