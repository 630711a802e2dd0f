"""Views of Kubernetes objects in tests: as the API server sends them, and with other metadata."""

import json
from typing import Any, TypeVar

from msgspec.structs import replace
from speechmodel_operator.cluster.views import ObjectView, View

ViewT = TypeVar("ViewT", bound=ObjectView)


def as_sent(view: View) -> dict[str, Any]:
    """Return the fields of a view as the API server sends them."""
    found: dict[str, Any] = json.loads(view.to_json())
    return found


def with_metadata(view: ViewT, **changes: object) -> ViewT:
    """Return an object with other metadata."""
    return replace(view, metadata=replace(view.metadata, **changes))
