"""Errors that the command line prints instead of a traceback.

CommandError     the message is for the user; the exit code is 1
"""


class CommandError(Exception):
    """The command cannot do what was asked. The message says what happened and what to do."""
