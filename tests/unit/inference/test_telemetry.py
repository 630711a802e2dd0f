"""Effects of clients on /metrics."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.telemetry import Telemetry
from speechmodel_inference.version_files import VersionFiles


def methods(*sent: str) -> set[str]:
    """Values of the label `method` after requests with these methods."""
    telemetry = Telemetry(DecodingQueue(decoders=1, waiting=0), Lifecycle(VersionFiles(Path("/nowhere"))), "espejo")
    for method in sent:
        telemetry.answered(method, "none", 405, 0.001)
    lines = generate_latest(telemetry.registry).decode().splitlines()
    requests = [line for line in lines if line.startswith("speechmodel_http_requests_total{")]
    return {line.partition('method="')[2].partition('"')[0] for line in requests}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_common_method_is_counted_by_its_name(method: str) -> None:
    assert methods(method) == {method}


def test_methods_that_clients_make_up_are_one_series() -> None:
    assert methods(*(f"X{number}" for number in range(100)), "get", "TRACE") == {"other"}
