"""All errors, as one tree. The command line shows their texts without a traceback.

ClusterError
├── MissingPrerequisite   the machine lacks a package, a program, a right or a kernel feature; the text says how to get it
├── CommandFailed         a program exited with an error; the text quotes its command line and stderr
├── TimedOut              a condition did not come true in time; the text quotes the log
├── NotRunning            the cluster, a group or a service does not run
├── LeftBehind            something of a stopped cluster is still there
└── ImageError            an image's name cannot be used
"""


class ClusterError(Exception):
    """A failure that the user can act on."""


class MissingPrerequisite(ClusterError):
    """The machine lacks a package, a program, a right or a kernel feature."""


class CommandFailed(ClusterError):
    """A program exited with an error."""


class TimedOut(ClusterError):
    """A condition did not come true in time."""


class NotRunning(ClusterError):
    """The cluster, a group or a service does not run."""


class LeftBehind(ClusterError):
    """Something of a stopped cluster is still there."""


class ImageError(ClusterError):
    """An image's name cannot be used."""
