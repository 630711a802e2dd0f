"""`speechmodel run`: the same plan as on a cluster, by subprocesses of this machine."""

import hashlib
import re
from pathlib import Path

import pytest
from support.places import FIXTURES
from support.workplace import Workplace

STAGES = ["prepare", "train", "convert", "evaluate", "publish"]


def test_one_call_trains_publishes_and_says_what_was_heard(first_run: tuple[Workplace, str]) -> None:
    place, output = first_run
    for stage in STAGES:
        assert f"{stage}: started\n" in output
        assert f"{stage}: done" in output
    model = place.status["model"]
    assert "12 train, 3 dev and 3 test clips" in output
    assert re.search(r"train: epoch 3/3  loss [0-9.]+  dev [0-9.]+|train: done, 3 epochs, loss", output)
    assert re.search(r"spoken +heard +confidence *\n", output)
    assert re.search(r"WER [0-9.]+%, CER [0-9.]+% on 3 test clips", output)
    assert f"model  s3://models/default/voz/{place.stage('publish')['output']['uri'].split('/')[5]}/" in output
    assert model["sha256"] in output
    assert "serve it with   speechmodel run voz.yaml --serve\n" in output
    assert place.condition("Ready")["status"] == "True"
    assert place.processes() == []


def test_the_workspace_is_laid_out_as_on_a_claim(first_run: tuple[Workplace, str]) -> None:
    place, _ = first_run
    converted = place.stage("convert")
    exported = place.state / "workspace/exports" / converted["key"] / "output_graph.pbmm"
    assert hashlib.sha256(exported.read_bytes()).hexdigest() == place.status["model"]["sha256"]
    for run in place.runs():
        folder = place.state / "runs" / run
        assert {path.name for path in folder.iterdir()} >= {"input.json", "result.json", "log", "exit_code"}
        assert (folder / "exit_code").read_text() == "0\n"


def test_a_second_call_does_nothing_and_says_so(finished: Workplace) -> None:
    before, runs = (finished.state / "status.json").read_bytes(), finished.runs()
    store_log = finished.folder / ".speechmodel/.s3/log"
    last_started = store_log.stat().st_mtime
    done = finished.run()
    assert done.returncode == 0
    version = finished.status["model"]["version"]
    assert f"nothing to do: version {version} of voz already matches the manifest\n" in done.stdout
    assert "started" not in done.stdout
    assert (finished.state / "status.json").read_bytes() == before
    assert finished.runs() == runs
    assert store_log.stat().st_mtime == last_started, "the S3 server was started for nothing"


def test_a_second_call_needs_no_dataset(finished: Workplace) -> None:
    (finished.folder / "voices").rename(finished.folder / "elsewhere")
    assert finished.run().returncode == 0


def test_an_edit_of_the_phrases_is_measured_and_published_and_trains_nothing(finished: Workplace) -> None:
    before = {stage: finished.stage(stage)["job"] for stage in STAGES}
    finished.write(decoding={"intents": {"Call": ["llama a mi {quien}"]}, "lists": {"quien": ["hijo", "hija"]}})
    done = finished.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"(\w+): started", done.stdout) == ["evaluate", "publish"], done.stdout
    after = {stage: finished.stage(stage)["job"] for stage in STAGES}
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"evaluate", "publish"}
    assert len(finished.status["history"]) == 2
    assert finished.status["observedGeneration"] == 2


def test_an_edit_of_what_has_no_effect_here_runs_nothing(finished: Workplace) -> None:
    finished.write(serving={"replicas": 3})
    finished.train(podTemplate={"nodeSelector": {"gpu": "a100"}})
    done = finished.run()
    assert done.returncode == 0
    assert "fields without effect on this machine: training.podTemplate, serving.replicas\n" in done.stdout
    assert "nothing to do" in done.stdout


@pytest.mark.training
@pytest.mark.slow
def test_more_epochs_by_two_workers_continue_what_one_began(finished: Workplace) -> None:
    finished.train(maxEpochs=4, numWorkers=2)
    done = finished.run()
    assert done.returncode == 0, done.stdout + done.stderr
    trained = finished.stage("train")["output"]
    assert (trained["epoch"], trained["trainedEpochs"]) == (4, 1)
    assert re.findall(r"(\w+): started", done.stdout) == ["train", "convert", "evaluate", "publish"], done.stdout
    (log,) = (finished.state / "runs").glob("voz-train-*/log-1")
    assert "worker 1 of 2" in log.read_text()


@pytest.mark.training
def test_a_lost_workspace_is_made_again_when_an_edit_needs_it_and_nothing_is_trained(finished: Workplace) -> None:
    (finished.state / "workspace").rename(finished.folder / "lost")
    assert "nothing to do" in finished.run().stdout
    finished.write(decoding={"beamWidth": 20})
    done = finished.run()
    assert done.returncode == 0, done.stdout + done.stderr
    attempts = {name: finished.stage(name)["attempt"] for name in ("prepare", "train", "convert")}
    assert attempts == {"prepare": 2, "train": 1, "convert": 2}
    assert (finished.state / "workspace").is_dir()


def test_suspend_runs_nothing(place: Workplace) -> None:
    place.write(suspend=True)
    done = place.run()
    assert done.returncode == 0
    assert "suspended by the manifest (spec.suspend): no stage runs" in done.stdout
    assert place.runs() == set()
    assert place.status["phase"] == "Suspended"


def test_recordings_of_unseen_voices_are_shown_spoken_and_heard(finished: Workplace) -> None:
    clip = next((FIXTURES / "clips").glob("*.wav"))
    heard = finished.folder / "heard"
    heard.mkdir()
    (heard / "a.wav").write_bytes(clip.read_bytes())
    (heard / "heard.csv").write_text("file,transcript\na.wav,ok espejo\nb.wav,nothing there\n")
    done = finished.run("--listen", "heard")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"unseen voices in heard\nspoken +heard +confidence *\nok espejo +\S", done.stdout)
    assert re.search(r"\nnothing there +heard/b.wav: cannot be read", done.stdout)
    again = finished.run("--listen", "heard")
    assert again.stdout == done.stdout
    (remembered,) = finished.state.glob("published/*.heard.json")
    assert hashlib.sha256(clip.read_bytes()).hexdigest() in remembered.read_text()


def test_the_state_folder_may_lie_elsewhere(finished: Workplace, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("state") / "deep" / "er"
    other.parent.mkdir()
    (finished.folder / ".speechmodel").rename(other)
    done = finished.run("--state", str(other))
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert f"serve it with   speechmodel run voz.yaml --state {other} --serve\n" in done.stdout


def test_a_terminal_shows_bars(finished: Workplace) -> None:
    finished.write(decoding={"beamWidth": 20})
    shown = finished.run_in_terminal()
    assert re.search(r"✔ evaluate +━+ \d:\d\d:\d\d WER [0-9.]+%", shown)
    assert re.search(r"✔ publish +━+ \d:\d\d:\d\d version [0-9a-f]{8}", shown)


def test_status_shows_the_columns_of_kubectl_and_the_conditions(finished: Workplace) -> None:
    done = finished.call("status", "voz")
    assert done.returncode == 0
    header, row, blank, *conditions = done.stdout.splitlines()
    assert header.split() == ["NAME", "PHASE", "EPOCH", "WER", "WER-UNSEEN", "VERSION", "READY", "AGE"]
    version = finished.status["model"]["version"]
    assert row.split()[:3] == ["voz", "Ready", "3/3"]
    assert row.split()[4:6] == [version, "True"]
    assert re.fullmatch(r"\d+[smh].*", row.split()[6])
    assert blank == ""
    assert [line.split()[0] for line in conditions] == [
        "DatasetReady",
        "Trained",
        "Published",
        "Promoted",
        "Serving",
        "Ready",
    ]
    all_models = finished.call("status").stdout.splitlines()
    assert [line.split()[:-1] for line in all_models] == [header.split()[:-1], row.split()[:-1]]


def test_status_of_an_unknown_model_says_what_to_do(place: Workplace) -> None:
    done = place.call("status", "nobody")
    assert done.returncode == 1
    assert (
        f"no model nobody in {place.folder}/.speechmodel; run `speechmodel run MANIFEST` to create one" in done.stderr
    )


def test_transcribe_prints_the_words_after_fetching_the_published_version(finished: Workplace) -> None:
    clips = sorted((FIXTURES / "clips").glob("*.wav"))[:2]
    done = finished.call("transcribe", *map(str, clips))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == list(map(str, clips))
    version = finished.status["model"]["version"]
    fetched = finished.state / "published" / version / "output_graph.pbmm"
    assert hashlib.sha256(fetched.read_bytes()).hexdigest() == finished.status["model"]["sha256"]
    assert finished.processes() == []


def test_transcribe_fetches_again_what_was_damaged(finished: Workplace) -> None:
    clip = str(next((FIXTURES / "clips").glob("*.wav")))
    first = finished.call("transcribe", "--model", "voz", clip)
    version = finished.status["model"]["version"]
    fetched = finished.state / "published" / version / "output_graph.pbmm"
    raw = bytearray(fetched.read_bytes())
    raw[len(raw) // 2] ^= 1
    fetched.write_bytes(raw)
    again = finished.call("transcribe", "--model", "voz", clip)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert hashlib.sha256(fetched.read_bytes()).hexdigest() == finished.status["model"]["sha256"]


def test_transcribe_names_the_file_that_is_no_audio(finished: Workplace) -> None:
    (finished.folder / "notes.wav").write_text("no audio")
    done = finished.call("transcribe", "notes.wav", str(Path("nowhere.wav")))
    assert done.returncode == 1
    assert "notes.wav: " in done.stderr
    assert "nowhere.wav: " in done.stderr
    assert "Traceback" not in done.stderr
