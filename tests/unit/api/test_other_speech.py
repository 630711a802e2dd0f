"""The place of other speech is not that of the dataset: refused by the types and by the rules of the API server."""

from typing import Any

import cel
import pytest
from pydantic import ValidationError
from speechmodel_api.dataset_spec import Dataset

CLAIM = {"persistentVolumeClaim": {"claimName": "voices", "path": "es"}}
BUCKET = {"s3": {"bucket": "voices", "prefix": "es", "region": "us-east-1"}}
SERVICE = {"s3": BUCKET["s3"] | {"endpoint": "http://s3:9000"}}


def refused(source: dict[str, Any], other: dict[str, Any] | None) -> list[bool]:
    """Return what the API server says, and what the types do."""
    dataset = {"source": source, "negatives": {"builtIn": True, "path": ""} | ({"source": other} if other else {})}
    rules = Dataset.model_json_schema()["x-kubernetes-validations"]
    server = not all(cel.evaluate(rule["rule"], {"self": dataset}) for rule in rules)
    try:
        Dataset.model_validate(dataset)
    except ValidationError as error:
        assert "negatives.source must not be the place of source; set another path or prefix" in str(error)
        return [server, True]
    return [server, False]


@pytest.mark.parametrize("place", [CLAIM, BUCKET, SERVICE])
def test_one_place_is_refused_whatever_its_credentials(place: dict[str, Any]) -> None:
    assert refused(place, place) == [True, True]
    if "s3" in place:
        assert (
            refused(place, {"s3": place["s3"] | {"secretRef": {"name": "radio"}, "region": "eu-west-1"}}) == [True] * 2
        )


@pytest.mark.parametrize(
    "place, other",
    [
        (CLAIM, None),
        (CLAIM, BUCKET),
        (BUCKET, CLAIM),
        (CLAIM, {"persistentVolumeClaim": {"claimName": "voices", "path": "other"}}),
        (CLAIM, {"persistentVolumeClaim": {"claimName": "radio", "path": "es"}}),
        (BUCKET, SERVICE),
        (SERVICE, BUCKET),
        (SERVICE, {"s3": SERVICE["s3"] | {"endpoint": "http://s3:9001"}}),
        (BUCKET, {"s3": BUCKET["s3"] | {"prefix": "es/other"}}),
        (BUCKET, {"s3": BUCKET["s3"] | {"bucket": "radio"}}),
    ],
)
def test_another_place_is_accepted(place: dict[str, Any], other: dict[str, Any] | None) -> None:
    assert refused(place, other) == [False, False]
