"""The recordings in a folder, with the links that people make."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from speechmodel_pipeline.prepare.audio_files import audio_files, is_recording


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in audio_files(folder)]


def test_recordings_are_known_by_their_endings_in_any_case(tmp_path: Path) -> None:
    for name in (
        "a.WAV",
        "b/c.m4a",
        "b/d.webm",
        "g.sln16",
        "h.GSM",
        "i.voc",
        "j.mp2",
        "notes.txt",
        ".hidden.wav",
        ".git/e.wav",
        "f.wav.bak",
    ):
        touched(tmp_path / name)
    everything = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "folder.wav").mkdir()
    assert names(tmp_path) == ["a.WAV", "b/c.m4a", "b/d.webm", "g.sln16", "h.GSM", "i.voc", "j.mp2"]
    assert sorted(filter(is_recording, everything)) == names(tmp_path), "the same rules apply to the keys of a bucket"


def test_a_prompt_that_a_telephone_system_keeps_in_several_formats_is_one_recording(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3", "a.gsm", "a.ulaw", "b.gsm", "b.sln16", "b.g722", "c/b.ulaw", "c/b.txt"):
        touched(tmp_path / name)
    assert names(tmp_path) == ["a.mp3", "a.wav", "b.g722", "c/b.ulaw"]


def test_links_to_files_and_folders_are_followed_and_those_to_nothing_are_kept_for_the_report(tmp_path: Path) -> None:
    touched(tmp_path / "elsewhere" / "1.wav")
    folder = tmp_path / "es"
    folder.mkdir()
    (folder / "a.wav").symlink_to(tmp_path / "elsewhere" / "1.wav")
    for name in ("b", "c"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    (folder / "gone.wav").symlink_to(tmp_path / "nowhere")
    assert names(folder) == ["a.wav", "b/1.wav", "c/1.wav", "gone.wav"]


def test_a_link_to_a_folder_that_contains_it_ends(tmp_path: Path) -> None:
    touched(tmp_path / "a" / "1.wav")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "here").symlink_to(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "b")
    assert names(tmp_path) == ["a/1.wav", "b"]


def test_the_folder_of_lost_files_of_a_volume_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(tmp_path / "a.wav")
    touched(tmp_path / "lost+found" / "1.wav")
    scan = os.scandir

    def denying(folder: Path) -> Iterator[os.DirEntry[str]]:  # root of the tests may read everything
        if folder.name == "lost+found":
            raise PermissionError(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", denying)
    assert names(tmp_path) == ["a.wav"]
