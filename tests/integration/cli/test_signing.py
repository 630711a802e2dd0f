"""Signed versions on one machine: the manifest's public keys are asked before a version is loaded."""

import json
import re

import pytest
from support.places import FIXTURES
from support.signing_keys import key_pair
from support.workplace import Workplace

pytestmark = pytest.mark.slow


def test_a_published_version_is_signed_by_an_edit_and_verified_before_it_is_loaded(finished: Workplace) -> None:
    clip, pair, other = str(next((FIXTURES / "clips").glob("*.wav"))), key_pair(), key_pair()

    def trust(public: str) -> None:
        signing = {"privateKeySecretRef": {"name": "signing-key"}, "publicKeys": [public]}
        finished.write(publish={"s3": {"bucket": "models"}, "signing": signing})

    before = finished.status["model"]
    assert "signedBy" not in before
    trust(pair.public)
    lacking = finished.run()
    assert lacking.returncode == 1
    assert "the Secret signing-key (publish.signing.privateKeySecretRef) is read from the environment" in lacking.stderr
    done = finished.run(SIGNING_KEY=pair.private)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"(\w+): started", done.stdout) == ["publish"], done.stdout
    assert finished.status["model"] == before | {"signedBy": finished.status["model"]["signedBy"]}
    assert "PRIVATE KEY" not in "".join(path.read_text() for path in finished.state.rglob("*.json"))

    heard = finished.call("transcribe", clip)
    assert (heard.returncode, heard.stderr) == (0, "")
    assert (finished.state / "published" / before["version"] / "model.sig").exists()
    record = finished.state / "model.json"
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"publicKeys": [other.public]}))
    distrusted = finished.call("transcribe", clip)
    assert distrusted.returncode == 1
    assert "a key whose sha256 is not that of one of publish.signing.publicKeys" in distrusted.stderr
