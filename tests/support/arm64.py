"""Debian for arm64 with the packages of the server's image. qemu-user runs its programs on x86-64."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubecluster import apt
from kubecluster.host_settings import SUITE

from support.environments import UNREACHABLE, cached
from support.places import ROOT

REQUIREMENTS = ROOT / "images" / "requirements" / "inference.txt"
PYTHON_VERSION = "3.13"
"""The version in SUITE, from which the images are made."""
PACKAGES = ("python3:arm64", "libstdc++6:arm64", "qemu-user:amd64")
"""The qemu-user of SUITE runs ONNX Runtime. Version 7.2, which Debian 12 has, crashes when it is imported."""
MEMBERS = ("api", "stagekit", "runtime", "embedding", "decoding", "inference")
"""Packages of the project in the image."""
MAGIC = "7f454c460201010000000000000000000200b700"
"""First 20 bytes of a program for arm64: ELF, 64 bits, little-endian, any ABI, an executable file, AArch64."""
MASK = "ffffffffffffff00fffffffffffffffffeffffff"
"""The bits that must be equal: the ABI may differ, and shared objects (type 3) are programs too."""


def folder() -> Path:
    """Return the folder with Debian, the packages and qemu, about 450 MB.

    It is made once (half a minute and 120 MB of downloads) in the user's cache, under the hash of its recipe. Skip the
    test where that is impossible.
    """
    return cached("arm64", REQUIREMENTS.read_bytes() + Path(__file__).read_bytes(), _make)


def _make(made: Path) -> None:
    with tempfile.TemporaryDirectory() as state:
        _add_debian(made, Path(state))
    _add_packages(made)


def command(made: Path) -> tuple[str, ...]:
    """Return the command that runs Python for arm64."""
    return (str(made / "qemu-aarch64"), str(made / "debian/usr/bin" / f"python{PYTHON_VERSION}"))


def environment(made: Path, processor: str) -> dict[str, str]:
    """Return the variables by which `command` finds the libraries and our packages, on a processor that qemu knows."""
    sources = [ROOT / "packages" / member / "src" for member in MEMBERS]
    return {
        "QEMU_CPU": processor,
        "QEMU_LD_PREFIX": str(made / "debian"),
        "PYTHONPATH": os.pathsep.join(map(str, (made / "packages", *sources))),
        "PYTHONPYCACHEPREFIX": str(made / "compiled"),
    }


@contextmanager
def executable(made: Path) -> Iterator[None]:
    """Let the kernel run programs for arm64 by qemu while the block runs. It opens qemu now (flag F), so containers can use it."""
    name = f"arm64-{os.getpid()}"
    magic, mask = ("".join(f"\\x{byte:02x}" for byte in bytes.fromhex(each)) for each in (MAGIC, MASK))
    with tempfile.TemporaryDirectory() as folder:
        _run("mount", "-t", "binfmt_misc", "none", folder)
        try:
            Path(folder, "register").write_text(f":{name}:M::{magic}:{mask}:{made / 'qemu-aarch64'}:F")
            try:
                yield
            finally:
                Path(folder, name).write_text("-1")
        finally:
            _run("umount", folder)


def _add_debian(made: Path, state: Path) -> None:
    """Unpack the Debian packages. Nothing of them is run, and nothing is installed on this machine."""
    if not shutil.which("apt-get") or not (sources := apt.sources(SUITE)):
        pytest.skip("arm64 was not tried: this machine is not Debian, whose packages it needs")
    for name in ("state/lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "sources.list").write_text(sources)
    settings = {
        "Dir::State": state / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "APT::Architectures": "amd64,arm64",
        "Acquire::Languages": "none",
    }
    get = ("apt-get", "--quiet", "--yes", *(f"--option={name}={value}" for name, value in settings.items()))
    for step in (("update",), ("install", "--download-only", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run([*get, *step], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"arm64 was not tried: Debian's packages cannot be reached: {done.stderr}")
    debian = made / "debian"
    (debian / "usr/lib").mkdir(parents=True)
    (debian / "lib").symlink_to("usr/lib")  # programs name the dynamic linker in /lib
    archives = state / "cache/archives"
    for package in (*archives.glob("*_arm64.deb"), *archives.glob("*_all.deb")):
        _run("dpkg-deb", "--extract", str(package), str(debian))
    (qemu,) = archives.glob("qemu-user_*.deb")
    _run("bash", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -x -C "$1" --strip-components=3 ./usr/bin/qemu-aarch64',
         str(qemu), str(made))  # fmt: skip


def _add_packages(made: Path) -> None:
    """Install the locked packages of the image, by the digests of their wheels for arm64."""
    wheels = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--python-version", PYTHON_VERSION)
    install = ("pip", "install", "-q", *wheels, "--python-platform", "aarch64-manylinux_2_28")
    uv = Path(sys.prefix) / "bin" / "uv"
    done = subprocess.run([uv, *install, "--target", made / "packages", "-r", REQUIREMENTS],
                          stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    if any(part in done.stderr for part in UNREACHABLE):
        pytest.skip(f"arm64 was not tried: the package index cannot be reached: {done.stderr}")
    assert done.returncode == 0, done.stderr


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
