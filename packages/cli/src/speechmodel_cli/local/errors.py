"""Errors on this machine. Every message names the file, folder or program, and says what to do.

LocalError
+-- StateBusy            another process uses the same state
+-- StateDamaged         a file of the state cannot be read
+-- DatasetMissing       the folder of a claim with recordings does not exist
+-- DatasetUnusable      prepare cannot use the dataset
+-- ClaimMissing         the folder of the claim of training.initFrom does not exist
+-- CheckpointMissing    the checkpoint of training.initFrom does not exist
+-- EngineMissing        there is no Python for training.engine
+-- CredentialsMissing   the environment lacks a key of the Secret in secretRef
+-- ProgramMissing       a stage program or the S3 server is not installed
+-- ObjectStoreFailed    the S3 server did not start
+-- FetchFailed          a published version could not be fetched
"""


class LocalError(Exception):
    """The base of every error of this package."""


class StateBusy(LocalError):
    """Another process uses the same state."""


class StateDamaged(LocalError):
    """A file of the state cannot be read."""


class DatasetMissing(LocalError):
    """The folder of a claim with recordings does not exist."""


class DatasetUnusable(LocalError):
    """prepare cannot use the dataset, or failed."""


class ClaimMissing(LocalError):
    """The folder of the claim of training.initFrom does not exist."""


class CheckpointMissing(LocalError):
    """The checkpoint of training.initFrom does not exist."""


class EngineMissing(LocalError):
    """There is no Python for training.engine."""


class CredentialsMissing(LocalError):
    """The environment lacks a key of the Secret in secretRef."""


class ProgramMissing(LocalError):
    """A stage program or the S3 server is not installed."""


class ObjectStoreFailed(LocalError):
    """The S3 server did not start."""


class FetchFailed(LocalError):
    """A published version could not be fetched."""
