"""From GraphDef to memory-mapped package, byte by byte."""

import contextlib
import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_pipeline.graphdef.encode import bytes_field, number_field, varint
from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_pipeline.graphdef.tensors import NUMERIC
from speechmodel_pipeline.graphdef.unmap import unmap
from speechmodel_runtime.wire import Span, WireReader

FLOAT, INT32, INT64, BOOL, HALF, STRING = 1, 3, 9, 10, 19, 7


def attribute(key: str, value: bytes) -> bytes:
    return bytes_field(5, bytes_field(1, key.encode()) + bytes_field(2, value))


def constant(name: str, dtype: int, shape: Sequence[int], value: bytes, *, more: bytes = b"") -> bytes:
    dimensions = b"".join(bytes_field(2, number_field(1, size)) for size in shape)
    tensor = number_field(1, dtype) + bytes_field(2, dimensions) + value
    body = bytes_field(1, name.encode()) + bytes_field(2, b"Const") + more
    body += attribute("dtype", number_field(6, dtype)) + attribute("value", bytes_field(8, tensor))
    return bytes_field(1, body)


def content(raw: bytes) -> bytes:
    return bytes_field(4, raw)


def converted(graph: bytes, folder: Path, min_bytes: int = 8) -> bytes:
    source, target = folder / "graph.pb", folder / "graph.pbmm"
    source.write_bytes(graph)
    made = memory_map(source, target, min_bytes=min_bytes)
    raw = target.read_bytes()
    assert (made.sha256, made.size_bytes) == (hashlib.sha256(raw).hexdigest(), len(raw))
    return raw


def regions(raw: bytes, folder: Path) -> Mapping[str, bytes]:
    """Return the regions by name, after checking what the runtime needs: ascending order, aligned,
    and inside the file.
    """
    path = folder / "read.pbmm"
    path.write_bytes(raw)
    (start,) = struct.unpack("<Q", raw[-8:])
    found: dict[str, bytes] = {}
    last = -1
    with path.open("rb") as file:
        reader = WireReader(file)
        for number, element in reader.fields(Span(start, len(raw) - 8)):
            assert number == 1 and isinstance(element, Span)
            fields = dict(reader.fields(element))
            offset, place, length = fields.get(1, 0), fields[2], fields[3]
            assert isinstance(offset, int) and isinstance(place, Span) and isinstance(length, int)
            name = reader.read(place).decode()
            assert last < offset <= offset + length <= start
            assert name == "memmapped_package://." or offset % 64 == 0
            assert name not in found
            found[name], last = raw[offset : offset + length], offset
    return found


def test_the_worked_example_comes_out_byte_for_byte(tmp_path: Path) -> None:
    raw = converted(constant("w", FLOAT, [2], content(struct.pack("<2f", 1, 2))), tmp_path)
    name = b"memmapped_package://w"
    assert raw == b"".join(
        (
            bytes.fromhex("0000803f00000040"),
            bytes.fromhex("0a60"),
            bytes.fromhex("0a0177"),
            bytes.fromhex("120e") + b"ImmutableConst",
            bytes.fromhex("2a0b0a05") + b"dtype" + bytes.fromhex("12023001"),
            bytes.fromhex("2a0f0a05") + b"shape" + bytes.fromhex("12063a0412020802"),
            bytes.fromhex("2a2d0a12") + b"memory_region_name" + bytes.fromhex("12171215") + name,
            bytes.fromhex("0a191215") + name + bytes.fromhex("1808"),
            bytes.fromhex("0a1b08081215") + b"memmapped_package://." + bytes.fromhex("1862"),
            bytes.fromhex("6a00000000000000"),
        )
    )
    assert len(raw) == 170


def test_small_constants_and_strings_stay_as_they_are(tmp_path: Path) -> None:
    small = constant("small", FLOAT, [2], content(bytes(8)))
    text = constant("text", STRING, [1], bytes_field(8, b"x" * 100))
    other = bytes_field(1, bytes_field(1, b"add") + bytes_field(2, b"AddV2") + bytes_field(3, b"small"))
    versions = bytes_field(4, number_field(1, 440))
    graph = small + text + other + versions
    assert regions(converted(graph, tmp_path, min_bytes=9), tmp_path) == {"memmapped_package://.": graph}


def test_inputs_device_and_what_is_not_known_of_a_node_stay(tmp_path: Path) -> None:
    kept = bytes_field(3, b"^control") + bytes_field(4, b"/device:CPU:0") + bytes_field(6, b"debug")
    graph = converted(constant("w", FLOAT, [2], content(bytes(8)), more=kept), tmp_path)
    assert bytes_field(2, b"ImmutableConst") + kept in graph


def test_region_names_are_plain_and_stay_apart(tmp_path: Path) -> None:
    graph = b"".join(constant(name, FLOAT, [2], content(bytes(8))) for name in ("a/b", "a_b", "a-b", "é", "."))
    assert list(regions(converted(graph, tmp_path), tmp_path)) == [
        f"memmapped_package://{name}" for name in ("a_b", "a_b_", "a_b__", "_", "._", ".")
    ]


VALUES = [
    (FLOAT, bytes_field(5, struct.pack("<3f", 1, 2, 3)), struct.pack("<4f", 1, 2, 3, 3)),
    (
        FLOAT,
        b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in (1, 2)),
        struct.pack("<4f", 1, 2, 2, 2),
    ),
    (INT32, number_field(7, -1), struct.pack("<4i", -1, -1, -1, -1)),
    (INT32, bytes_field(7, varint(5) + varint(-6)), struct.pack("<4i", 5, -6, -6, -6)),
    (INT64, bytes_field(10, varint(-(2**40)) + varint(7)), struct.pack("<4q", -(2**40), 7, 7, 7)),
    (HALF, bytes_field(13, varint(0x3C00)), bytes.fromhex("003c") * 4),
    (BOOL, bytes_field(11, bytes([1, 0])), bytes([1, 0, 0, 0])),
    (FLOAT, b"", bytes(16)),
]


@pytest.mark.parametrize(("dtype", "value", "elements"), VALUES)
def test_typed_values_become_bytes_and_the_last_one_repeats(
    dtype: int, value: bytes, elements: bytes, tmp_path: Path
) -> None:
    raw = converted(constant("w", dtype, [2, 2], value), tmp_path, min_bytes=1)
    assert regions(raw, tmp_path)["memmapped_package://w"] == elements


def test_long_runs_of_typed_values_are_written_whole(tmp_path: Path) -> None:
    values = list(range(100_000))
    packed = constant("w", INT32, [150_000], bytes_field(7, b"".join(map(varint, values))))
    raw = regions(converted(packed, tmp_path), tmp_path)["memmapped_package://w"]
    assert struct.unpack("<150000i", raw) == (*values, *[99_999] * 50_000)


def test_scalars_and_empty_constants_are_handled(tmp_path: Path) -> None:
    graph = constant("scalar", FLOAT, [], content(bytes(4))) + constant("empty", FLOAT, [0, 3], b"")
    assert list(regions(converted(graph, tmp_path, min_bytes=1), tmp_path)) == [
        "memmapped_package://scalar",
        "memmapped_package://.",
    ]


def unmapped(raw: bytes, folder: Path) -> bytes:
    source, target = folder / "mapped.pbmm", folder / "unmapped.pb"
    source.write_bytes(raw)
    unmap(source, target)
    return target.read_bytes()


@pytest.mark.parametrize(("dtype", "value", "elements"), VALUES)
def test_a_package_becomes_a_graph_that_becomes_the_same_package(
    dtype: int, value: bytes, elements: bytes, tmp_path: Path
) -> None:
    kept = bytes_field(3, b"^control") + bytes_field(4, b"/device:CPU:0")
    other = bytes_field(1, bytes_field(1, b"add") + bytes_field(2, b"AddV2")) + bytes_field(4, number_field(1, 440))
    graph = constant("a/w", dtype, [2, 2], value, more=kept) + other + constant("a.w", dtype, [4], content(elements))
    raw = converted(graph, tmp_path, min_bytes=1)
    again = unmapped(raw, tmp_path)
    assert again == constant("a/w", dtype, [2, 2], content(elements), more=kept) + other + constant(
        "a.w", dtype, [4], content(elements)
    )
    assert converted(again, tmp_path, min_bytes=1) == raw


def test_a_file_that_is_no_package_becomes_no_graph(tmp_path: Path) -> None:
    raw = converted(constant("w", FLOAT, [2], content(bytes(8))), tmp_path)
    no_name, no_value = (
        raw.replace(b"memory_region_name", b"memory_region_nama"),
        raw.replace(b"dtype\x12", b"dtype\x1a"),
    )
    for damaged in (b"", raw[:-1], no_name, no_value):
        with pytest.raises(GraphDamaged, match=r"mapped\.pbmm is damaged"):
            unmapped(damaged, tmp_path)


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (b"", "it has no nodes"),
        (number_field(3, 1), "it has no nodes"),
        (b"not a graph at all", "byte"),
        (constant("w", FLOAT, [4], content(bytes(16)))[:-1], "runs past the end of its message at"),
        (constant("w", FLOAT, [4], content(bytes(15))), "has 15 bytes, its shape needs 16"),
        (constant("w", INT32, [4], bytes_field(7, bytes(5))), "more values than the 4 of its shape"),
        (constant("w", FLOAT, [4], number_field(5, 1)), "has values of another type"),
        (constant("w", FLOAT, [-1], b""), "a dimension of unknown size"),
        (bytes_field(1, bytes_field(1, b"w") + b"\x0f"), "wire type 7 before byte"),
    ],
)
def test_a_damaged_graph_is_refused_by_name_and_place(graph: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(GraphDamaged, match=f"graph.pb is damaged: .*{problem}"):
        converted(graph, tmp_path)


@given(graph=st.binary(max_size=300))
def test_no_bytes_make_it_fail_in_another_way(graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("graph")
    with contextlib.suppress(GraphDamaged):
        regions(converted(graph, folder), folder)


NUMERIC_CONSTANTS = st.lists(
    st.tuples(
        st.text("abc/_.-", max_size=4),
        st.sampled_from(sorted(NUMERIC)),
        st.lists(st.integers(0, 5), max_size=3),
        st.binary(min_size=16, max_size=16),
    ),
    max_size=6,
)


@given(constants=NUMERIC_CONSTANTS, min_bytes=st.integers(1, 200))
@settings(max_examples=60)
def test_every_constant_of_at_least_the_size_is_mapped_with_its_bytes(
    constants: list[tuple[str, int, list[int], bytes]], min_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("graph")
    graph, wanted = bytes_field(1, bytes_field(1, b"first")), []
    for name, dtype, shape, element in constants:
        count = 1
        for size in shape:
            count *= size
        raw = element[: NUMERIC[dtype].item_size] * count
        graph += constant(name, dtype, shape, content(raw))
        if len(raw) >= min_bytes:
            wanted.append(raw)
    found = regions(converted(graph, folder, min_bytes), folder)
    assert list(found.values())[:-1] == wanted
