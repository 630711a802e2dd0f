"""`speechmodel run --serve` and clients of it."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from support.ports import free_port
from support.workplace import Workplace, interrupt, read_until, rest


def test_the_published_version_is_served_until_ctrl_c(finished: Workplace) -> None:
    port = free_port()
    process = finished.start("--serve", "--port", str(port))
    lines = read_until(process, lambda line: "curl -F" in line)
    assert f"serving on http://127.0.0.1:{port} (press Ctrl-C to stop); open it in a browser, or try\n" in lines
    assert finished.condition("Promoted")["status"] == "True"
    assert finished.status["serving"] == {"version": finished.status["model"]["version"], "readyReplicas": 1}

    answer = subprocess.run(lines[-1].split(), cwd=finished.folder, capture_output=True, text=True, check=True)
    assert re.match(r'\{"text":".*"', answer.stdout)
    clip = next(finished.state.glob("published/*/selftest.wav"))
    served = finished.call("transcribe", "--url", f"http://127.0.0.1:{port}/", str(clip))
    here = finished.call("transcribe", str(clip))
    assert (served.returncode, served.stdout) == (0, here.stdout)

    assert not [line for line in finished.processes() if "weed" in line], "S3 is only needed for the fetch"
    code, output = interrupt(process)
    assert (code, output) == (0, "stopping the server\n")
    assert finished.processes() == []
    assert "serving" not in finished.status
    assert finished.condition("Ready")["status"] == "True"


def test_a_server_that_ends_by_itself_ends_the_command_with_its_words(finished: Workplace) -> None:
    process = finished.start("--serve", "--port", str(free_port()))
    read_until(process, lambda line: "curl -F" in line)
    (server,) = [pid for pid, line in finished.running().items() if "speechmodel_inference" in line]
    os.kill(server, signal.SIGKILL)
    code, output = rest(process)
    assert code == 1
    assert "voz: ServerEnded: the server ended" in output


def test_nohup_keeps_a_closed_terminal_from_ending_it(finished: Workplace) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited by the command, as from nohup
    try:
        process = finished.start("--serve", "--port", str(free_port()))
    finally:
        signal.signal(signal.SIGHUP, ignored)
    read_until(process, lambda line: "curl -F" in line)
    process.send_signal(signal.SIGHUP)
    assert interrupt(process) == (0, "stopping the server\n")


def test_a_port_that_is_taken_is_reported(finished: Workplace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = finished.run("--serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "voz: ServerEnded: the server ended: " in done.stderr
    assert "cannot listen on" in done.stderr
    assert finished.processes() == []


def test_a_server_that_is_not_there_is_reported(finished: Workplace) -> None:
    clip = str(next(finished.folder.glob("voices/clips/*.wav")))
    done = finished.call("transcribe", "--url", f"http://127.0.0.1:{free_port()}", clip)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "check that the server is running" in done.stderr


def test_a_killed_command_takes_its_server_with_it(finished: Workplace) -> None:
    process = finished.start("--serve", "--port", str(free_port()))
    read_until(process, lambda line: "curl -F" in line)
    process.kill()
    process.wait()
    finished.until_deserted()


def test_the_embedded_server_keeps_what_was_published(finished: Workplace, tmp_path: Path) -> None:
    """Its objects outlive it: a version is fetched by a later process on other ports."""
    (finished.folder / ".speechmodel/.s3/ports.json").unlink()
    done = finished.call("transcribe", str(next(finished.folder.glob("voices/clips/*.wav"))))
    assert done.returncode == 0, done.stderr
