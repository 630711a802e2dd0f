"""Messages of programs are shown on one line, without what a terminal would carry out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_plan.messages import LONGEST_EVENT, LONGEST_MESSAGE, in_event, in_status
from support.world import World


@pytest.mark.parametrize(
    "message, shown",
    [
        ("row 3: 'mañana' has no file", "row 3: 'mañana' has no file"),
        ("می‌خواهم 👩‍👩‍👧", "می‌خواهم 👩‍👩‍👧"),
        ("\x1b[31mno\x1b[0m\nspace\x00\x9b2J\u2028left\ud83d", " [31mno [0m space  2J left "),
    ],
    ids=["plain", "joiners", "controls"],
)
def test_only_controls_are_replaced(message: str, shown: str) -> None:
    assert in_status(message) == in_event(message) == shown


@given(st.text(st.characters(), max_size=3 * LONGEST_EVENT))
def test_an_event_is_cut_at_a_character(message: str) -> None:
    shown = in_event(message)
    assert len(shown.encode()) <= LONGEST_EVENT
    assert in_status(message).startswith(shown.removesuffix("…"))


def test_a_long_message_is_cut_and_says_so() -> None:
    assert in_event("ñ" * LONGEST_EVENT) == "ñ" * 510 + "…"
    assert in_status("語" * 5000) == "語" * (LONGEST_MESSAGE - 1) + "…"
    assert in_status("語" * LONGEST_MESSAGE) == "語" * LONGEST_MESSAGE


def test_the_status_shows_what_a_program_printed_without_its_colours() -> None:
    world = World()
    for _ in range(2):  # the claim, and the first stage
        world.step()
    world.fail(65, message="\x1b[31mrow 2\x1b[0m\nhas no file")
    world.step()
    assert world.status.stages[0].message == " [31mrow 2 [0m has no file"
    assert world.condition("DatasetReady").message == world.status.stages[0].message
