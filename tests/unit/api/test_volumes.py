"""Volumes of a pod template, as the types take or refuse them. The API server is asked in tests/integration/crd."""

from typing import Any

import pytest
from speechmodel_api.field_problems import InvalidSpec, read_spec
from support.templates import BAD_VOLUMES, VOLUMES
from support.world import World


def spec(template: dict[str, Any], part: str) -> dict[str, Any]:
    found = World().spec
    return found | {part: {**found.get(part, {}), "podTemplate": template}}


@pytest.mark.parametrize("part", ["training", "serving"])
@pytest.mark.parametrize("template, message", BAD_VOLUMES)
def test_a_volume_that_cannot_work_is_refused_with_the_name_of_its_field(
    template: dict[str, Any], message: str, part: str
) -> None:
    with pytest.raises(InvalidSpec) as error:
        read_spec(spec(template, part))
    assert str(error.value).startswith(f"spec.{part}.podTemplate")
    assert message in str(error.value)


def test_a_volume_of_the_node_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="such as hostPath, are not allowed"):
        read_spec(spec({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "training"))


def test_volumes_of_every_kind_are_read() -> None:
    template = read_spec(spec(VOLUMES, "training")).training.pod_template
    assert template.model_dump(mode="json", by_alias=True, exclude_unset=True) == VOLUMES
