"""Collect how pip, uv and apt download packages on this machine, for the RUN steps of an image build.

Package indexes and their certificates belong to the machine that builds, never to the image: a RUN step sees
them as environment variables and as files below TARGET, both for the length of the step (`build_runtime`).
"""

import configparser
import json
import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kubecluster import apt

TARGET = "/dev/kubecluster"
SUITE = "trixie"  # of most images, not of this machine
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# settings that say where packages come from and how to get there; all others are the Dockerfile's business
PIP = ("INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "TRUSTED_HOST", "PROXY", "RETRIES", "TIMEOUT",
       "DEFAULT_TIMEOUT")  # fmt: skip
UV = ("DEFAULT_INDEX", "INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "INSECURE_HOST",
      "HTTP_TIMEOUT", "INDEX_STRATEGY")  # fmt: skip
UV_FROM_PIP = {"DEFAULT_INDEX": "INDEX_URL", "EXTRA_INDEX_URL": "EXTRA_INDEX_URL", "FIND_LINKS": "FIND_LINKS"}


@dataclass(frozen=True)
class Settings:
    """The environment variables and files that a RUN step gets."""

    environment: dict[str, str]
    mounts: dict[str, str]  # path in the container -> path on this machine


def once(folder: Path, suite: str = SUITE) -> Settings:
    """Write the settings' files for an image of a Debian suite into `folder`, or read them back if they are there."""
    saved = folder.with_suffix(".json")
    if not folder.exists():
        folder.mkdir(parents=True)
        saved.write_text(json.dumps(asdict(_collect(folder, suite))))
    return Settings(**json.loads(saved.read_text()))


def package_indexes(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return this machine's PIP_* and UV_* settings; the environment wins over configuration files.

    uv gets pip's indexes where it has none of its own, since a Dockerfile may use either.
    """
    pip = {k.upper().replace("-", "_"): v for k, v in _pip_files(env, home).items()}
    pip |= {name: env[f"PIP_{name}"] for name in PIP if env.get(f"PIP_{name}")}
    uv = _uv_files(home) | {name: env[f"UV_{name}"] for name in UV if env.get(f"UV_{name}")}
    if not uv.keys() & {"DEFAULT_INDEX", "INDEX_URL", "INDEX"}:
        uv = {theirs: pip[ours] for theirs, ours in UV_FROM_PIP.items() if ours in pip} | uv
    found = {f"PIP_{name}": pip[name] for name in PIP if name in pip}
    return found | {f"UV_{name}": uv[name] for name in UV if name in uv}


def _collect(folder: Path, suite: str) -> Settings:
    environment = package_indexes(os.environ, Path.home())
    mounts = {TARGET: str(folder)}
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        if links := environment.pop(name, "").split():
            environment[name] = " ".join(_mounted(link, mounts) for link in links)
    if certificates := _certificates(os.environ, Path.home()):
        shutil.copyfile(certificates, folder / "ca.crt")
        environment |= dict.fromkeys(CERTIFICATE_VARIABLES, f"{TARGET}/ca.crt")
    if sources := apt.sources(suite):
        (folder / "sources.list").write_text(sources)
        lines = [f'Dir::Etc::sourcelist "{TARGET}/sources.list";', f'Acquire::https::CaInfo "{TARGET}/ca.crt";']
        (folder / "apt.conf").write_text("\n".join(lines) + "\n" + apt.options())
        environment["APT_CONFIG"] = f"{TARGET}/apt.conf"
    return Settings(environment, mounts)


def _pip_files(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return pip's settings of [global] and [install]; later files win, and several values share one line."""
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")]
    files += [home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    if given := env.get("PIP_CONFIG_FILE"):
        files.append(Path(given))
    parser = configparser.RawConfigParser()
    parser.read(files)
    sections = [section for section in ("global", "install") if parser.has_section(section)]
    return {key: " ".join(value.split()) for section in sections for key, value in parser.items(section)}


def _uv_files(home: Path) -> dict[str, str]:
    """Return uv's index settings; the user's win over the system's."""
    found: dict[str, str] = {}
    for path in (Path("/etc/uv/uv.toml"), home / ".config/uv/uv.toml"):
        if not path.exists():
            continue
        document = tomllib.loads(path.read_text())
        for table in (document, document.get("pip", {})):
            if isinstance(url := table.get("index-url"), str):
                found["DEFAULT_INDEX"] = url
            if isinstance(urls := table.get("extra-index-url"), list):
                found["EXTRA_INDEX_URL"] = " ".join(urls)
        for index in document.get("index", []):
            name = "DEFAULT_INDEX" if index.get("default") else "INDEX"
            found[name] = " ".join(filter(None, (found.get(name) if name == "INDEX" else None, index["url"])))
    return found


def _mounted(link: str, mounts: dict[str, str]) -> str:
    """Return the link as the container sees it: a directory of this machine is mounted, an address stays."""
    if not Path(link).is_dir():
        return link
    target = f"{TARGET}-wheels-{len(mounts)}"
    mounts[target] = str(Path(link).resolve())
    return target


def _certificates(env: Mapping[str, str], home: Path) -> Path | None:
    """Return the certificates that this machine's downloads trust."""
    settings = (env.get("PIP_CERT"), env.get("SSL_CERT_FILE"), _pip_files(env, home).get("cert"), SYSTEM_CERTIFICATES)
    return next((Path(found) for found in settings if found and Path(found).is_file()), None)
