"""Everything that can go wrong, as one tree; the command line shows the text of each without a traceback.

ClusterError
├── MissingPrerequisite   the machine lacks a package, a program, a right or a kernel feature; says how to get it
├── CommandFailed         a program that the harness ran exited with an error; quotes its command line and stderr
├── TimedOut              a condition did not come true in time; quotes the log of what was waited for
├── NotRunning            the cluster, group or service that was asked for does not run
├── LeftBehind            something outlived a stopped cluster
└── ImageError            an image's name, Dockerfile or .dockerignore cannot be used
"""


class ClusterError(Exception):
    """Something the user can act on."""


class MissingPrerequisite(ClusterError):
    """The machine lacks a package, a program, a right or a kernel feature."""


class CommandFailed(ClusterError):
    """A program that the harness ran exited with an error."""


class TimedOut(ClusterError):
    """A condition did not come true in time."""


class NotRunning(ClusterError):
    """The cluster, group or service that was asked for does not run."""


class LeftBehind(ClusterError):
    """Something outlived a stopped cluster."""


class ImageError(ClusterError):
    """An image's name, Dockerfile or .dockerignore cannot be used."""
