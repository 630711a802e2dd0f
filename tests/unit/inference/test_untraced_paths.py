"""Paths that make no spans."""

import pytest
from speechmodel_inference.app import untraced


@pytest.mark.parametrize("root_path", ["", "/speech", "/v1"])
def test_probes_and_paths_with_names_make_no_spans(root_path: str) -> None:
    def is_untraced(path: str) -> bool:
        return untraced({"path": root_path + path, "root_path": root_path})

    assert all(
        map(
            is_untraced,
            ("/livez", "/metrics", "/v1/takes", "/v1/takes/Ana Lopez", "/v1/misheard/x/take", "/v1/retrain"),
        )
    )
    assert all(map(is_untraced, ("//v1/takes/Ana", "/v1//takes", "//livez")))
    assert not any(map(is_untraced, ("/", "/record", "/misheard", "/v1/models", "/v1/audio/transcriptions")))
