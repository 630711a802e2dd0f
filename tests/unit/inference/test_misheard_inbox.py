"""The inbox of misheard clips in a folder that other models and people share."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from speechmodel_api.takes import MISHEARD, TAKES, Misheard, Take
from speechmodel_inference import misheard, sounds
from speechmodel_inference.misheard import MisheardInbox, inbox_folder
from speechmodel_inference.settings import Settings
from speechmodel_inference.sounds import FolderStore, new_id
from speechmodel_inference.transcribing import Segment
from speechmodel_inference.version import ServedVersion
from speechmodel_runtime import Pcm, load
from support.servers import OK_ESPEJO

VERSION = cast(ServedVersion, SimpleNamespace(manifest=SimpleNamespace(language="es", version="0123abcd")))


def inbox_of(folder: Path, name: str = "espejo", **settings: float) -> MisheardInbox:
    return MisheardInbox(FolderStore(folder), Settings.model_validate({"takes": folder, "name": name} | settings))


def leave(folder: Path, name: str = "espejo", age: timedelta = timedelta()) -> Path:
    """Put a clip of this age into an inbox and return its sound."""
    time = datetime.now(UTC) - age
    path = folder / inbox_folder(name) / f"{new_id(time)}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    clip = Misheard(heard="", language="es", version="0123abcd", seconds=1.5, recorded_at=time)
    path.with_suffix(".json").write_text(clip.model_dump_json(by_alias=True), encoding="utf-8")
    return path


def rejected() -> Segment:
    return Segment(0, 1, "", words=(), candidates=(), utterance_seconds=(0, 1))


def keep(inbox: MisheardInbox, pcm: Pcm | None = None) -> None:
    """Let a stream end with an utterance that is rejected."""
    inbox.utterance(VERSION, load(OK_ESPEJO) if pcm is None else pcm, rejected())


def test_models_that_share_a_dataset_have_inboxes_of_their_own(tmp_path: Path) -> None:
    old, other = leave(tmp_path, "espejo", timedelta(days=2)), leave(tmp_path, "puerta", timedelta(days=2))
    inbox_of(tmp_path, "ventana").expire()  # it keeps none
    inbox_of(tmp_path, "espejo", misheard_days=1).expire()
    assert (old.exists(), other.exists()) == (False, True)
    assert [identity for identity, _ in inbox_of(tmp_path, "puerta").newest()[1]] == [other.stem]
    assert inbox_of(tmp_path, "espejo", misheard_days=1).newest() == (0, [])
    assert inbox_of(tmp_path, "espejo").drop_all() == 0
    assert other.exists()


@pytest.mark.parametrize("name", ["..", ".", "../takes", "a/b", "/", "*", "[a]", "es-1.0 b"])
def test_the_name_of_a_model_leads_out_of_no_inbox(tmp_path: Path, name: str) -> None:
    clip, other = leave(tmp_path, name), leave(tmp_path, "espejo")
    assert clip.parent.parent == tmp_path / MISHEARD
    assert inbox_of(tmp_path, name).drop_all() == 1
    assert (clip.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize("name", ["original", "20269999-000000-0a1b2c", "20260101-000000-0A1B2C", "20260101"])
def test_files_of_other_people_in_the_folder_stay(tmp_path: Path, name: str) -> None:
    theirs = (tmp_path / inbox_folder("espejo") / name).with_suffix(".wav")
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(bytes(2**20))
    theirs.with_suffix(".json").write_text("{}", encoding="utf-8")
    inbox = inbox_of(tmp_path, misheard_days=1, misheard_mebibytes=1)
    keep(inbox)
    inbox.close()
    inbox_of(tmp_path).expire()
    assert inbox.newest() == (0, []), "theirs is not listed, and takes no room from ours, which expired"
    keep(kept := inbox_of(tmp_path, misheard_days=1, misheard_mebibytes=1))
    kept.close()
    assert kept.newest()[0] == kept.drop_all() == 1
    assert theirs.read_bytes() == bytes(2**20)
    assert theirs.with_suffix(".json").exists()


def confirm(inbox: MisheardInbox, clip: Path, speaker: str) -> Take | None:
    return inbox.confirm(clip.stem, text=f"said by {speaker}", speaker=speaker, consent=True, require=lambda *_: None)


def test_a_clip_that_many_people_confirm_at_once_becomes_one_take(tmp_path: Path) -> None:
    people = [f"Ana {number}" for number in range(8)]
    inboxes = [inbox_of(tmp_path, misheard_days=1) for _ in people]
    with ThreadPoolExecutor(len(people)) as threads:
        for _ in range(20):
            clip, ready = leave(tmp_path), Barrier(len(people))

            def say(inbox: MisheardInbox, speaker: str, clip: Path = clip, ready: Barrier = ready) -> Take | None:
                ready.wait()
                return confirm(inbox, clip, speaker)

            made = [take for take in threads.map(say, inboxes, people) if take]
            (document,) = (tmp_path / TAKES).glob(f"*/{clip.stem}.json")
            assert [take.model_dump_json(by_alias=True) for take in made] == [document.read_text()]
    assert list((tmp_path / inbox_folder("espejo")).iterdir()) == []


def test_a_clip_that_cannot_be_kept_as_a_take_stays_in_the_inbox(tmp_path: Path) -> None:
    clip, inbox = leave(tmp_path), inbox_of(tmp_path, misheard_days=1)
    (tmp_path / TAKES).write_bytes(b"in the way")
    with pytest.raises(OSError, match=TAKES):
        confirm(inbox, clip, "Ana")
    assert inbox.newest()[0] == 1
    (tmp_path / TAKES).unlink()
    assert confirm(inbox, clip, "Ana") is not None
    assert inbox.newest()[0] == 0


def reserve(folder: Path, clip: Path) -> bool:
    """Do what a server does that ends before it has copied the clip."""
    return FolderStore(folder).claim(clip.relative_to(folder).with_suffix("").as_posix())


def test_a_clip_whose_server_ended_while_it_was_confirmed_goes_when_its_time_is_over(tmp_path: Path) -> None:
    clip = leave(tmp_path, age=timedelta(days=2))
    assert reserve(tmp_path, clip)
    inbox_of(tmp_path, misheard_days=1).expire()
    assert list(clip.parent.iterdir()) == []


def test_a_clip_whose_server_ended_while_it_was_confirmed_is_confirmed_again_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, inbox = leave(tmp_path), inbox_of(tmp_path, misheard_days=1)
    assert reserve(tmp_path, clip)
    assert confirm(inbox, clip, "Ana") is None, "another server may be at it"
    monkeypatch.setattr(sounds, "CLAIM_SECONDS", -1.0)
    assert confirm(inbox, clip, "Ana") is not None
    assert list(clip.parent.iterdir()) == []


def test_a_clip_whose_server_ended_while_it_was_confirmed_returns_to_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, inbox = leave(tmp_path), inbox_of(tmp_path, misheard_days=1)
    assert reserve(tmp_path, clip)
    inbox.expire()
    assert inbox.newest()[0] == 0, "another server may be at it"
    monkeypatch.setattr(sounds, "CLAIM_SECONDS", -1.0)
    inbox.expire()
    assert [identity for identity, _ in inbox.newest()[1]] == [clip.stem]


def test_all_clips_are_deleted_with_those_that_a_server_reserved_or_left_without_a_document(tmp_path: Path) -> None:
    reserved, orphan = leave(tmp_path), leave(tmp_path)
    assert reserve(tmp_path, reserved)
    orphan.with_suffix(".json").unlink()
    leave(tmp_path).unlink()  # a document alone
    assert inbox_of(tmp_path, misheard_days=1).drop_all() == 2
    assert list(orphan.parent.iterdir()) == []


def test_clips_that_wait_for_the_disk_hold_no_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, disk = inbox_of(tmp_path, misheard_days=1), Event()
    add = FolderStore.add

    def slow(store: FolderStore, name: str, wav: bytes, document: str) -> None:
        disk.wait()
        add(store, name, wav, document)

    monkeypatch.setattr(FolderStore, "add", slow)
    recordings = [np.concatenate([load(OK_ESPEJO), np.zeros(16_000, np.int16)]) for _ in range(3)]
    held = [weakref.ref(recording) for recording in recordings]
    try:
        while recordings:
            keep(inbox, recordings.pop()[:-8_000])
        assert [each() for each in held] == [None] * 3
    finally:
        disk.set()
    inbox.close()
    assert inbox.newest()[0] == 3


def test_the_end_waits_so_long_for_a_slow_disk_and_tells_how_many_clips_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, disk = inbox_of(tmp_path, misheard_days=1), Event()
    monkeypatch.setattr(FolderStore, "add", lambda *_: disk.wait())
    try:
        for _ in range(3):
            keep(inbox)
        inbox.close(0.1)
        assert "3 misheard clips are not kept: they were not written within 0.1 s" in caplog.text
    finally:
        disk.set()


def test_clips_that_arrive_after_the_end_are_reported_and_take_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(misheard, "MOST_WAITING", 1)
    inbox = inbox_of(tmp_path, misheard_days=1)
    inbox.close()
    keep(inbox)
    keep(inbox)
    assert caplog.text.count("a misheard clip is not kept: the server ends") == 2


@pytest.mark.parametrize("document", [b"", b"{}", b"\xff", b'{"heard": 1}'])
def test_a_damaged_clip_is_reported_and_becomes_no_take(
    tmp_path: Path, document: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    clip, inbox = leave(tmp_path), inbox_of(tmp_path, misheard_days=1)
    clip.with_suffix(".json").write_bytes(document)
    assert confirm(inbox, clip, "Ana") is None
    assert f"{clip.stem}.json is not the description of a misheard clip" in caplog.text
    assert inbox.newest()[1] == []
    assert not (tmp_path / TAKES).exists()
    assert inbox.drop(clip.stem)
