"""The manifests and fields in the README are valid."""

import re

import yaml
from speechmodel_api.crd import schema
from speechmodel_api.spec import SpeechModelSpec
from support.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_manifest_is_valid() -> None:
    manifests = [yaml.safe_load(block) for language, block in BLOCKS if language == "yaml"]
    assert manifests
    for manifest in manifests:
        SpeechModelSpec.of(manifest)


def test_every_field_that_is_named_is_in_the_crd() -> None:
    spec = schema()["properties"]["spec"]
    dotted = set(re.findall(r"`((?:dataset|training|decoding|publish|serving)\.[A-Za-z.0-9]+)", README))
    assert len(dotted) >= 6
    for path in dotted:
        node = spec
        for part in path.rstrip(".").split("."):
            node = node.get("properties", {}).get(part)
            assert node is not None, path
