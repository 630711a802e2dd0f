"""kubectl, as the tests call it, while the API server takes no connections."""

import time
from pathlib import Path

import pytest
from support.kube import Kubectl

REFUSED = "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is made again without a pause."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def kubectl(folder: Path, error: str) -> Kubectl:
    """Return a kubectl that fails once with an error. Then it writes its arguments."""
    program = folder / "kubectl"
    program.write_text(
        f'''#!/bin/sh
if mkdir "{folder}/called" 2>/dev/null; then echo "{error}" >&2; exit 1; fi
shift 4
echo "$@"
'''
    )
    program.chmod(0o755)
    return Kubectl(str(program), "kubeconfig", None, "default")


@pytest.mark.parametrize("verb", ["apply", "create", "exec"])
@pytest.mark.parametrize("error", [REFUSED, "Unable to connect to the server: net/http: TLS handshake timeout"])
def test_a_call_that_reached_no_api_server_is_made_again(verb: str, error: str, tmp_path: Path) -> None:
    assert kubectl(tmp_path, error)(verb, "x") == f"{verb} x\n"


def test_a_deletion_that_lost_its_connection_may_find_nothing_more_to_delete(tmp_path: Path) -> None:
    assert kubectl(tmp_path, REFUSED)("delete", "pod", "x") == "delete pod x --ignore-not-found\n"


def test_a_change_that_may_have_been_made_is_made_again_only_if_that_does_no_harm(tmp_path: Path) -> None:
    error = "Error from server: etcdserver: request timed out"
    with pytest.raises(AssertionError, match="kubectl create x: Error from server: etcdserver"):
        kubectl(tmp_path, error)("create", "x")
    (tmp_path / "called").rmdir()
    assert kubectl(tmp_path, error)("apply", "x") == "apply x\n"


def test_an_error_of_the_api_server_is_one_of_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"kubectl get pod x: Error from server \(NotFound\)"):
        kubectl(tmp_path, "Error from server (NotFound): pods x not found")("get", "pod", "x")
