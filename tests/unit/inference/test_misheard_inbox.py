"""The inbox of misheard clips in a folder that other models and people share."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_api.takes import MISHEARD, Misheard
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
