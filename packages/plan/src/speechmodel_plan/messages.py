"""Messages of programs and of Kubernetes, as the status and the Events show them."""

import unicodedata

LONGEST_MESSAGE = 4000
"""Characters of a message in the status; the schema accepts 4096."""
LONGEST_EVENT = 1024
"""Bytes of an Event's message that Kubernetes accepts."""
_NOT_SHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of controls, halves of characters, and separators of lines and paragraphs."""


def in_status(message: str) -> str:
    """Return a message on one line, without control characters, as long as the status can hold. One that is cut ends with an
    ellipsis.
    """
    text = _on_one_line(message)
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def in_event(message: str) -> str:
    """Return the same as long as an Event can hold. A message that is cut ends with an ellipsis."""
    text = _on_one_line(message)
    encoded = text.encode()
    if len(encoded) <= LONGEST_EVENT:
        return text
    return encoded[: LONGEST_EVENT - len("…".encode())].decode(errors="ignore") + "…"


def _on_one_line(message: str) -> str:
    """Return the message with a space for what a terminal would carry out, such as the colours of a log."""
    if message.isascii() and message.isprintable():
        return message
    return "".join(" " if unicodedata.category(sign) in _NOT_SHOWN else sign for sign in message)
