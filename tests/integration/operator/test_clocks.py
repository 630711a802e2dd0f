"""An operator whose clock differs from that of the API server, which dates every object."""

from datetime import UTC, datetime, timedelta

import pytest

from .conftest import Operator
from .test_edits_by_hand import jobs_of, start

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_times_in_the_status_are_those_of_the_api_server(operator: Operator, ahead: timedelta) -> None:
    operator.ahead = ahead
    start(operator)
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    stage = model["status"]["stages"][0]
    assert stage["state"] == "Running"
    assert "message" not in stage, "a Job that was created just now does not miss a pod yet"
    times = [condition["lastTransitionTime"] for condition in model["status"]["conditions"]] + [stage["startedAt"]]
    assert all(abs(datetime.fromisoformat(time) - datetime.now(UTC)) < HOUR / 2 for time in times)


def test_a_removal_of_published_objects_gets_its_time(operator: Operator) -> None:
    operator.ahead = HOUR
    operator.publish()
    operator.kubectl.patch(operator.name, {"publish": {"deletionPolicy": "Delete"}})
    operator.step()
    operator.kubectl("delete", "speechmodel", operator.name, "--wait=false")
    operator.step()
    operator.step()
    assert len(jobs_of(operator)) == 1
    assert operator.kubectl.get("speechmodel", operator.name), "it waits for the Job that has just begun"
