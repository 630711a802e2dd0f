"""What the README says to type can be typed."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from speechmodel_api.crd import schema
from speechmodel_api.spec import SpeechModelSpec

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line.split("#")[0].strip() for _, block in BLOCKS for line in block.splitlines()]
    return [line for line in lines if line.startswith(program)]


def test_every_manifest_is_valid() -> None:
    manifests = [yaml.safe_load(block) for language, block in BLOCKS if language == "yaml"]
    assert manifests
    for manifest in manifests:
        SpeechModelSpec.of(manifest)


def test_every_make_target_exists() -> None:
    named = {line.split()[1] for line in commands("make ")} | set(re.findall(r"`make ([a-z0-9-]+)`", README))
    assert {"demo", "test"} <= named
    for target in named:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", commands(".venv/bin/speechmodel "))
def test_every_local_command_is_understood(command: str) -> None:
    program, subcommand, *args = command.split()
    options = {arg for arg in args if arg.startswith("--")}
    known = subprocess.run(
        [str(ROOT / program), subcommand, "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(option in known for option in options)
    for path in (arg for arg in args if "/" in arg):
        assert (ROOT / path).exists(), path


def test_every_field_that_is_named_is_in_the_crd() -> None:
    spec = schema()["properties"]["spec"]
    dotted = set(re.findall(r"`((?:dataset|training|decoding|publish|serving)\.[A-Za-z.0-9]+)", README))
    assert len(dotted) >= 6
    for path in dotted:
        node = spec
        for part in path.rstrip(".").split("."):
            node = node.get("properties", {}).get(part)
            assert node is not None, path


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
