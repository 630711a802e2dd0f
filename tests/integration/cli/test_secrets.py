"""Keys occur in nothing that a run of all stages and a server writes, however much they log."""

from pathlib import Path

import pytest
from speechmodel_cli.local.object_store import Access
from speechmodel_cli.local.seaweedfs import Identity, SeaweedFS
from support.leaks import files, leaks, log_everything
from support.ports import free_port
from support.signing_keys import key_pair
from support.tones import tone
from support.workplace import Workplace, interrupt, read_until

from .test_object_store import downloaded, upload

pytestmark = pytest.mark.slow

OURS, OTHERS = Identity("AKOURS", "SecretOfOurs4f81c2"), Identity("AKOTHERS", "SecretOfOthers93be07")
WRONG_SECRET, WRONG_KEY = "WrongSecretD2a6", "WrongPrivateKeyE5b9"
BUCKET = "their-bucket"


def test_no_secret_is_in_what_a_run_of_all_stages_and_a_server_write(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    place, pair, written = Workplace.make(tmp_path / "place"), key_pair(), dict[str, bytes]()
    keys = {**OURS.environment} | {f"NEGATIVES_{name}": value for name, value in OTHERS.environment.items()}
    keys |= {"SIGNING_KEY": pair.private} | log_everything(tmp_path / "site")

    def run_until(text: str, *arguments: str, **other: str) -> None:
        """Run the command until it says that."""
        process = place.start("--s3", "manifest", *arguments, **keys | other)
        lines = read_until(process, lambda line: text in line)
        written[text] = "".join([*lines, interrupt(process)[1]]).encode()

    with SeaweedFS(tmp_path / "service", buckets=[BUCKET], identities=[OURS, OTHERS]) as service:
        access = Access(service.endpoint, OURS.environment)
        for number in range(3):
            tone(tmp_path / "radio" / f"{number}.wav", 900 + 50 * number)
        upload(access, tmp_path / "radio", "radio")
        upload(access, place.folder / "voices", "es")
        s3 = {"bucket": BUCKET, "endpoint": service.endpoint, "secretRef": {"name": "key"}}
        negatives = {"builtIn": False, "source": {"s3": s3 | {"prefix": "radio"}}}
        dataset = {"source": {"s3": s3 | {"prefix": "es"}}, "format": "DeepSpeechCSV", "negatives": negatives}
        signing = {"privateKeySecretRef": {"name": "signing"}, "publicKeys": [pair.public]}
        place.write(dataset=dataset, publish={"s3": s3 | {"prefix": "speech"}, "signing": signing})

        run_until("curl -F", "--serve", "--port", str(free_port()))
        assert place.condition("Published")["status"] == "True"
        place.write(publish={"s3": s3 | {"prefix": "elsewhere"}, "signing": signing})
        run_until("SigningKeyUnusable", SIGNING_KEY=WRONG_KEY)
        place.write(dataset=dataset | {"revision": "2"})
        run_until("SignatureDoesNotMatch", AWS_SECRET_ACCESS_KEY=WRONG_SECRET)
        written |= downloaded(access)

    written |= files(place.folder)
    assert any(b"DEBUG botocore" in text for text in written.values()), "the stage programs log everything"
    secrets = [OURS.secret_key, OTHERS.secret_key, WRONG_SECRET, WRONG_KEY, *pair.private.splitlines()[1:-1]]
    assert leaks(written, secrets) == []
