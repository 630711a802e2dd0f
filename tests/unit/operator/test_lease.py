"""The times of the Lease. tests/integration/operator/test_modes.py shows that operators keep to them, with longer ones."""

from speechmodel_operator.lease import DURATION_SECONDS, RENEW_SECONDS, RETRY_SECONDS


def test_a_lease_that_was_given_up_is_taken_within_2_s() -> None:
    assert RETRY_SECONDS <= 2


def test_the_lease_of_a_lost_node_is_taken_within_20_s_and_after_its_holder_has_stopped() -> None:
    assert RENEW_SECONDS + 2 * RETRY_SECONDS < DURATION_SECONDS
    # the other operator sees the last renewal, and then that the Lease has expired, each up to one pause later
    assert DURATION_SECONDS + 2 * RETRY_SECONDS < 20
