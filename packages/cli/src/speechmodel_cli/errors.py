"""What the command line says instead of a traceback.

CommandError     the message is for the user; the exit code is 1
"""


class CommandError(Exception):
    """What happened, to which file or model, and what to do."""
