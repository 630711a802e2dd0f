"""The package indexes that RUN steps get from this machine."""

import json
from pathlib import Path

import pytest
from kubecluster import apt, build_runtime, host_settings
from kubecluster.host_settings import package_indexes


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_environment_goes_over_the_files_and_uv_gets_pips_index(tmp_path: Path) -> None:
    write(tmp_path / ".config/pip/pip.conf", "[global]\nindex-url = https://file/simple\ntrusted-host = a\n  b\n")
    found = package_indexes({}, tmp_path)
    assert found["PIP_INDEX_URL"] == found["UV_DEFAULT_INDEX"] == "https://file/simple"
    assert found["PIP_TRUSTED_HOST"] == "a b"
    over = package_indexes({"PIP_INDEX_URL": "https://env/simple"}, tmp_path)
    assert over["PIP_INDEX_URL"] == over["UV_DEFAULT_INDEX"] == "https://env/simple"


def test_uv_keeps_an_index_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / ".config/uv/uv.toml", '[[index]]\nurl = "https://uv/simple"\ndefault = true\n')
    found = package_indexes({"PIP_INDEX_URL": "https://pip/simple"}, tmp_path)
    assert (found["PIP_INDEX_URL"], found["UV_DEFAULT_INDEX"]) == ("https://pip/simple", "https://uv/simple")
    env = {"PIP_INDEX_URL": "https://pip/simple", "PIP_EXTRA_INDEX_URL": "https://extra", "UV_INDEX_URL": "https://own"}
    own = {name: value for name, value in package_indexes(env, tmp_path / "nobody").items() if name.startswith("UV_")}
    assert own == {"UV_INDEX_URL": "https://own"}


def test_settings_that_do_not_say_where_packages_come_from_stay_here(tmp_path: Path) -> None:
    env = {"PIP_TARGET": "/somewhere", "UV_PYTHON": "3.11", "PIP_REQUIRE_VIRTUALENV": "1"}
    assert not package_indexes(env, tmp_path).keys() & env.keys()


def test_certificates_and_wheel_folders_are_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / "own.crt", "certificate")
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "own.crt"))
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/wheels https://elsewhere/wheels")
    settings = host_settings.once(tmp_path / "settings")
    assert settings.environment["SSL_CERT_FILE"] == settings.environment["PIP_CERT"] == "/dev/kubecluster/ca.crt"
    assert (Path(settings.mounts["/dev/kubecluster"]) / "ca.crt").read_text() == "certificate"
    folder, address = settings.environment["PIP_FIND_LINKS"].split()
    assert settings.mounts[folder] == str(tmp_path / "wheels")
    assert address == "https://elsewhere/wheels"


def test_settings_are_looked_up_once_for_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = host_settings.once(tmp_path / "settings")
    monkeypatch.setenv("PIP_INDEX_URL", "https://later/simple")
    assert host_settings.once(tmp_path / "settings") == first


@pytest.mark.parametrize("suite", ["trixie", "bookworm"])
def test_a_step_gets_the_packages_of_the_debian_that_it_runs_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suite: str
) -> None:
    monkeypatch.setattr(apt, "sources", lambda suite: f"deb http://archive {suite} main\n")
    write(tmp_path / "root/usr/lib/os-release", f"ID=debian\nVERSION_CODENAME={suite}\n")
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/os-release").symlink_to("../usr/lib/os-release")
    config: dict[str, object] = {"root": {"path": "root"}, "process": {"env": []}, "mounts": [], "linux": {}}
    write(tmp_path / "config.json", json.dumps(config))
    command = ["build_runtime", str(tmp_path / "settings"), "builds", "create", "--bundle", str(tmp_path), "step"]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr("os.execvp", lambda *_: None)
    build_runtime.main()
    changed = json.loads((tmp_path / "config.json").read_text())
    mounts = {mount["destination"]: Path(mount["source"]) for mount in changed["mounts"]}
    sources = mounts["/dev/kubecluster"] / "sources.list"
    assert sources.read_text() == f"deb http://archive {suite} main\n"
