"""torch without the libraries of CUDA, which its wheel loads even where there is no GPU: 3 GB of packages.

Libraries with their names take their place. They have the functions that torch refers to, each of which returns the
error 100, that there is no device. So torch finds no GPU and computes on the CPU.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from kubecluster.pythons import installed_python
from support.environments import environment
from support.places import ROOT

LOCK = ROOT / "tests" / "bench" / "torch.txt"
PYTHON = "3.11"
_CUDA = re.compile(r"lib(cu|nccl|nvrtc|nvshmem_host)\w*\.so\.\d+")
"""Names of the libraries."""
_FUNCTION = re.compile(r"(__cuda|cu[a-z]*[A-Z]|nccl|nvrtc|nvshmem)\w+")
"""Names of their functions."""
_VERSIONS = {"NVSHMEM": "libnvshmem_host.so.3"}
"""Libraries whose symbols have a version other than the name of the library."""
_RUNTIME = "libcudart.so.13"
"""The library that gets the functions without a version."""
_STORED = "__cudaRegisterFatBinary"
"""Its result is read while torch is loaded."""


def cpu_torch() -> Path:
    """Return a Python with torch. Skip without Python 3.11, a C compiler and nm."""
    python = installed_python(PYTHON)
    if python is None or not all(map(shutil.which, ("cc", "nm", "readelf"))):
        pytest.skip(f"torch needs Python {PYTHON} (pyenv or PATH), cc, nm and readelf here")
    return environment("torch", LOCK, python, _replace_cuda) / "bin" / "python"


def _replace_cuda(folder: Path) -> None:
    """Build the libraries that torch needs and does not find."""
    libraries = folder / "lib" / f"python{PYTHON}" / "site-packages" / "torch" / "lib"
    own = [str(path) for path in libraries.glob("lib*torch*.so")] + [str(libraries / "libc10_cuda.so")]
    needed = set(re.findall(r"\[(\S+)\]", _printed("readelf", "-d", *own)))
    functions: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for symbol in re.findall(r" U (\S+)", _printed("nm", "-D", "--undefined-only", *own)):
        name, _, version = symbol.partition("@")
        if version in _VERSIONS or _CUDA.fullmatch(version):
            functions[_VERSIONS.get(version, version), version].add(name)
        elif not version and _FUNCTION.fullmatch(name):
            functions[_RUNTIME, ""].add(name)
    for library in sorted(each for each in needed if _CUDA.fullmatch(each)):
        _build(
            libraries / library, {version: names for (place, version), names in functions.items() if place == library}
        )


def _build(path: Path, functions: dict[str, set[str]]) -> None:
    """Build a library with the functions, by the version of their names."""
    source, versions = path.with_suffix(".c"), path.with_suffix(".map")
    lines = [
        f"long {name}(void) {{ return 100; }}" for names in functions.values() for name in sorted(names - {_STORED})
    ]
    source.write_text("\n".join([f"static long none; long *{_STORED}(void) {{ return &none; }}", *lines, ""]))
    blocks = [
        f"{version} {{ global: {'; '.join(sorted(names))}; }};" for version, names in functions.items() if version
    ]
    versions.write_text("\n".join([*blocks, ""]))
    options = [f"-Wl,--version-script={versions}"] if blocks else []
    command = ["cc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{path.name}", *options, str(source), "-o", str(path)]
    subprocess.run(command, check=True)


def _printed(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
