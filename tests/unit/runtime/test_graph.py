import io
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speechmodel_pipeline.graphdef.encode import bytes_field, number_field
from speechmodel_runtime import read_graph
from speechmodel_runtime.errors import ModelError, ModelIncompatible, ModelMissing, ModelUnreadable
from speechmodel_runtime.wire import Span, WireError, WireReader

from .conftest import Variants

LABELS = " aehijklmnoprsuv"


def test_both_forms_of_a_model_say_the_same(fixtures: Path, mapped: Path) -> None:
    info = read_graph(fixtures / "tf2_128.pb")
    assert info == read_graph(mapped)
    assert b"".join(info.labels).decode() == LABELS
    assert (info.classes, info.sample_rate, info.window, info.step, info.beam_width) == (17, 16000, 512, 320, 500)


@pytest.mark.parametrize("labels", [LABELS + "x", LABELS + "wxyz" * 20, LABELS[:-1]])
def test_an_alphabet_that_does_not_fit_the_output_layer_is_refused(labels: str, variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match=rf"alphabet has {len(labels)} labels.*\[17\].*another alphabet"):
        read_graph(variants.with_alphabet(labels))


@pytest.mark.parametrize(
    "blob", [b"", b"\x10", b"\x01\x00\x05\x00\x01\x00a", b"\x01\x00\x00\x00\x09\x00a", b"\x00\x00"]
)
def test_a_damaged_alphabet_is_refused(blob: bytes, variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match="metadata_alphabet"):
        read_graph(variants.with_alphabet_blob(blob))


@pytest.mark.parametrize("node", ["logits", "mfccs", "input_lengths", "metadata_beam_width", "layer_6/bias"])
def test_a_graph_that_lacks_what_the_runtime_needs_is_refused(node: str, variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match=node):
        read_graph(variants.without(node))


def test_a_graph_of_an_older_series_is_refused(variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match="graph version 4"):
        read_graph(variants.with_integer("metadata_version", 4))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"gone\.pbmm: cannot be read \(No such file"):
        read_graph(tmp_path / "gone.pbmm")


def test_a_model_whose_name_does_not_fit_its_form_is_refused(fixtures: Path, mapped: Path, tmp_path: Path) -> None:
    for source, name in ((fixtures / "tf2_128.pb", "plain.pbmm"), (mapped, "mapped.pb")):
        target = Path(shutil.copy(source, tmp_path / name))
        with pytest.raises(ModelUnreadable, match="rename it"):
            read_graph(target)


@pytest.mark.parametrize("keep", [0, 1, 8, 1000, 500_000, -20_000, -8, -1])
def test_a_cut_model_is_refused(keep: int, own_copy: Path) -> None:
    raw = own_copy.read_bytes()
    own_copy.write_bytes(raw[:keep])
    with pytest.raises(ModelUnreadable, match=r"own\.pbmm"):
        read_graph(own_copy)


def test_a_model_with_a_byte_too_many_is_refused(own_copy: Path) -> None:
    own_copy.write_bytes(own_copy.read_bytes() + b"\n")
    with pytest.raises(ModelUnreadable):
        read_graph(own_copy)


@pytest.mark.parametrize("name", [b"layer_1_weights", b"layer_5_weights"])
def test_weights_that_the_directory_does_not_have_are_noticed(name: bytes, own_copy: Path) -> None:
    raw = own_copy.read_bytes()
    last = raw.rindex(name)  # the directory comes after the graph
    own_copy.write_bytes(raw[:last] + name.replace(b"layer", b"LAYER") + raw[last + len(name) :])
    with pytest.raises(ModelUnreadable, match=name.decode().replace("_w", "/w")):
        read_graph(own_copy)


@pytest.mark.parametrize(("shift", "growth"), [(4, 0), (0, -4), (64, -64)])
def test_weights_at_another_place_or_of_another_size_are_noticed(shift: int, growth: int, own_copy: Path) -> None:
    raw = own_copy.read_bytes()
    directory = int.from_bytes(raw[-8:], "little")
    regions = b""
    with own_copy.open("rb") as file:
        reader = WireReader(file)
        for _, element in reader.fields(Span(directory, reader.size - 8)):
            assert isinstance(element, Span)
            found = dict(reader.fields(element))
            offset, name, length = found.get(1, 0), found[2], found[3]
            assert isinstance(offset, int) and isinstance(name, Span) and isinstance(length, int)
            if reader.read(name).endswith(b"layer_2_weights"):
                offset, length = offset + shift, length + growth
            entry = number_field(1, offset) + bytes_field(2, reader.read(name)) + number_field(3, length)
            regions += bytes_field(1, entry)
    own_copy.write_bytes(raw[:directory] + regions + raw[-8:])
    with pytest.raises(ModelUnreadable, match="weights of layer_2/weights are missing, truncated or misplaced"):
        read_graph(own_copy)


@pytest.mark.slow
@given(position=st.integers(0, 993_534), value=st.integers(0, 255))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damaged_byte_makes_it_fail_otherwise_than_by_a_model_error(
    position: int, value: int, own_copy: Path
) -> None:
    raw = bytearray(own_copy.read_bytes())
    keep, raw[position] = raw[position], value
    own_copy.write_bytes(raw)
    try:
        assert read_graph(own_copy).classes == 17
    except ModelError as error:
        assert error.path == str(own_copy)
    raw[position] = keep
    own_copy.write_bytes(raw)


@given(st.binary(max_size=300))
def test_any_bytes_are_either_a_message_or_a_wire_error(raw: bytes) -> None:
    with _File(raw) as file:
        reader = WireReader(file)
        try:
            for number, value in reader.fields(Span(0, reader.size)):
                assert number > 0
                if isinstance(value, Span):
                    assert len(reader.read(value)) == value.length
        except WireError:
            pass


class _File(io.FileIO):
    """Bytes in a nameless file: the reader wants a descriptor."""

    def __init__(self, raw: bytes) -> None:
        descriptor = os.memfd_create("test")
        os.write(descriptor, raw)
        super().__init__(descriptor, "rb")
