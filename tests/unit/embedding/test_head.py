"""The file of a head."""

from pathlib import Path

import numpy as np
import pytest
from speechmodel_embedding import Head


def test_a_head_is_read_as_it_was_written(head: Head, tmp_path: Path) -> None:
    head.save(tmp_path / "head.npz")
    read = Head.load(tmp_path / "head.npz")
    assert read.classes == head.classes
    for name in ("mean", "deviation", "kernel", "bias", "output", "output_bias"):
        assert np.array_equal(getattr(read, name), getattr(head, name))


def test_equal_heads_are_equal_files(head: Head, tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        head.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_damaged_file_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"head\.npz"):
        Head.load(tmp_path / "head.npz")


def test_a_file_without_one_of_the_weights_is_a_value_error(tmp_path: Path) -> None:
    with (tmp_path / "head.npz").open("wb") as file:
        np.savez(file, mean=np.zeros(96))
    with pytest.raises(ValueError, match="deviation"):
        Head.load(tmp_path / "head.npz")
