"""Types of the API never change, so nothing copies them."""

import copy

from speechmodel_api.spec import SpeechModelSpec
from support.world import SPEC


def test_what_a_manifest_leaves_out_is_shared_by_all_specs() -> None:
    first, second = (SpeechModelSpec.model_validate(SPEC) for _ in range(2))
    assert first.dataset.split is second.dataset.split
    assert copy.deepcopy(first) is first
