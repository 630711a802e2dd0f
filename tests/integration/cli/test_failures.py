"""A user reads what happened and what to do when something is wrong, and no traceback."""

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from speechmodel_cli.local.processes import identify
from support.waiting import until_ended
from support.workplace import Workplace, interrupt, read_until


def test_a_bad_manifest_is_reported_and_nothing_is_made(place: Workplace) -> None:
    place.train(maxEpoch=5)
    done = place.run()
    assert done.returncode == 1
    assert "spec.training.maxEpoch: unknown field; did you mean maxEpochs?" in done.stderr
    assert not place.state.exists()


def test_a_missing_dataset_folder_is_named_with_the_option_that_helps(place: Workplace) -> None:
    (place.folder / "voices").rename(place.folder / "elsewhere")
    done = place.run()
    assert done.returncode == 1
    expected = f"the folder {place.folder}/voices of the dataset claim voices does not exist"
    assert expected in done.stderr
    assert "--claim voices=FOLDER" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.runs() == set()
    place.write(suspend=True)
    assert place.run("--claim", "voices=elsewhere").returncode == 0


def test_data_that_cannot_be_used_fails_with_its_reason_and_is_looked_at_again_by_the_next_call(
    place: Workplace,
) -> None:
    table = place.folder / "voices/train.csv"
    good = table.read_text()
    table.write_text(good.splitlines()[0] + "\n")
    (place.folder / "voices/dev.csv").write_text(good.splitlines()[0] + "\n")
    (place.folder / "voices/test.csv").write_text(good.splitlines()[0] + "\n")
    for attempt in (1, 2):
        done = place.run()
        assert done.returncode == 1
        assert "voz: InvalidDataset: " in done.stderr
        assert f"log: .speechmodel/voz/runs/voz-prepare-{place.stage('prepare')['key']}-{attempt}/log" in done.stderr
    assert place.status["phase"] == "Failed"
    table.write_text(good)
    process = place.start()
    read_until(process, lambda line: line.startswith("prepare: done"))
    interrupt(process)


def test_a_secret_that_the_environment_lacks_is_reported_before_any_work(place: Workplace) -> None:
    place.write(publish={"s3": {"bucket": "models", "secretRef": {"name": "bucket-key"}}})
    done = place.run("--s3", "manifest", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.returncode == 1
    assert "the Secret bucket-key (publish.s3.secretRef) is read from the environment here" in done.stderr
    assert "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set them" in done.stderr
    assert place.runs() == set()


class Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 service that refuses everything."""

    def refuse(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = refuse  # noqa: N815 - names of the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_bucket_that_refuses_is_reported_and_waits_and_ctrl_c_ends_at_once(
    finished: Workplace, refusing: str
) -> None:
    finished.write(publish={"s3": {"bucket": "models", "endpoint": refusing}})
    process = finished.start("--s3", "manifest", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    lines = read_until(process, lambda line: "UploadFailed" in line)
    assert [line for line in lines if "started" in line] == ["publish: started\n"]
    assert re.search(r"retrying at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, press Ctrl-C to stop", lines[-1])
    code, _ = interrupt(process)
    assert code == 130
    assert finished.status["model"]["version"], "what was published before still counts"
    done = finished.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train: started" not in done.stdout


def test_a_stage_that_outlived_its_command_is_ended_by_the_next(place: Workplace) -> None:
    """The kernel ends stages with their command; this is for a kernel that did not."""
    run = place.state / "runs/voz-train-0123abcd-1"
    run.mkdir(parents=True)
    with subprocess.Popen(["sleep", "infinity"], start_new_session=True) as survivor:
        known = identify(survivor.pid)
        assert known is not None
        (run / "process.json").write_text(known.model_dump_json(by_alias=True))
        place.write(suspend=True)
        assert place.run().returncode == 0
        assert until_ended(survivor) == -9


def test_a_program_that_is_not_installed_is_named(place: Workplace, tmp_path: Path) -> None:
    hidden = tmp_path / "hide"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'speechmodel_pipeline' else real(name, *a)\n"
    )
    done = place.run(PYTHONPATH=str(hidden))
    assert done.returncode == 1
    assert "the program speechmodel_pipeline.prepare is missing: install speechmodel-pipeline" in done.stderr
