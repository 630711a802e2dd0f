"""Files replaced in one step."""

from pathlib import Path

import pytest
from speechmodel_stagekit import durable
from speechmodel_stagekit.durable import replace_file


@pytest.mark.parametrize("content", [b"\xff\x00", "más\n"])
def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "state.json"
    path.write_text("old", encoding="utf-8")
    replace_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    path = tmp_path / "state.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(durable, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
