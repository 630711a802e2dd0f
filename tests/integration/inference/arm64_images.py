"""The images for arm64, built and run under qemu-user by `make arm64`."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kubecluster import images
from kubecluster.buildah import buildah, copy_files
from kubecluster.layout import Layout
from support import arm64
from support.places import ROOT
from support.servers import OK_ESPEJO, PHRASES, Server, Start, VersionFolder
from support.waiting import cpu_seconds

NAMES = ("operator", "pipeline", "inference")
INSIDE = 'for each in dev proc sys; do mount --rbind /$each "$0/$each"; done; mkdir -p "$0$1"; mount --bind "$1" "$0$1"; shift'
"""Commands that give a root folder the devices, the processes and one more folder of this machine."""
PROCESSOR = {"QEMU_CPU": "neoverse-n2", "HOME": "/"}
"""As in the arm64 machines of clouds: Armv9 with SVE2 and instructions for products of 8-bit integers. With all that qemu knows (max),
SME included, ONNX Runtime 1.32 returns NaN, and the self-test fails."""


@dataclass(frozen=True)
class Unpacked:
    """The files of an image in a folder, and its variables."""

    root: Path
    environment: Mapping[str, str]

    def command(self, program: str, shared: Path) -> tuple[str, ...]:
        """Return the command that runs a program of the image as its user, with a folder of this machine."""
        script = f'{INSIDE}; exec chroot --userspec=65532:65532 "$0" "$@"'
        contained = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script)
        return *contained, str(self.root), str(shared), program


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Unpacked]]:
    """The images by name. The kernel runs their programs until the tests have ended."""
    layout = Layout.default()
    layout = replace(layout, cache=layout.cache / "arm64")
    with arm64.executable(arm64.folder()):
        found = {}
        wanted = [replace(image, architecture="arm64") for image in images.project(ROOT, NAMES)]
        images.prepare(layout, wanted)
        for image in wanted:
            root = tmp_path_factory.mktemp(image.target) / "root"
            copy_files(layout, image.name, root)
            listed = "{{range .OCIv1.Config.Env}}{{println .}}{{end}}"
            lines = buildah(layout, "inspect", "--type", "image", "--format", listed, image.name).splitlines()
            found[image.target] = Unpacked(root, PROCESSOR | dict(line.split("=", 1) for line in lines if line))
        yield found


def test_the_server_of_the_image_passes_its_self_test_and_answers_as_on_x86_64(
    unpacked: Mapping[str, Unpacked], folder: VersionFolder, start: Start, tmp_path: Path
) -> None:
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    folder.decode_natively()
    image, log = unpacked["inference"], tmp_path / "arm64.log"
    python = image.command("python", folder.path)
    with Server(folder.path, log, {}, environment=image.environment, python=python) as server:
        server.until_ready(moved=lambda: int(cpu_seconds(server.process.pid)))
        assert "by the engine Native; self-test: 'ok espejo'" in log.read_text(encoding="utf-8")
        answer = server.transcribe(OK_ESPEJO, response_format="verbose_json").json()
    assert answer == start().until_ready().transcribe(OK_ESPEJO, response_format="verbose_json").json()


@pytest.mark.parametrize(
    ("name", "module", "code"),
    [
        pytest.param("operator", "speechmodel_operator", 78, id="the operator says that it found no cluster"),
        pytest.param("pipeline", "speechmodel_pipeline.fetch", 64, id="fetch says that it lacks its input"),
        pytest.param("pipeline", "speechmodel_pipeline.purge", 64, id="purge says that it lacks its input"),
    ],
)
def test_the_other_programs_for_arm64_start(
    unpacked: Mapping[str, Unpacked], tmp_path: Path, name: str, module: str, code: int
) -> None:
    image = unpacked[name]
    command = [*image.command("python", tmp_path), "-m", module]
    done = subprocess.run(command, env=image.environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
