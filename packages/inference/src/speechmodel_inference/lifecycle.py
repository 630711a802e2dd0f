"""Where the server is between its start and its end, and why it does not take requests, if it does not."""

import asyncio
import logging
from pathlib import Path

from speechmodel_inference.errors import ModelFolderError, NotReady
from speechmodel_inference.version import ServedVersion, load_version

log = logging.getLogger(__name__)


class Lifecycle:
    """Loading, ready or failed; and draining, once SIGTERM came."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version: ServedVersion | None = None
        self._problem = "loading the model"
        self._draining = False

    async def load(self) -> None:
        """Load the version in a thread, so that probes are answered meanwhile. A failure is kept for /readyz."""
        try:
            self._version = await asyncio.to_thread(load_version, self._folder)
        except ModelFolderError as error:
            self._problem = str(error)
            log.error("not ready: %s", error)
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            log.exception("not ready")
            raise

    @property
    def version(self) -> ServedVersion:
        """The served version; NotReady while there is none."""
        if self._version is None:
            raise NotReady(self._problem)
        return self._version

    @property
    def loaded(self) -> bool:
        """Whether requests can be served, draining or not."""
        return self._version is not None

    @property
    def draining(self) -> bool:
        """Whether SIGTERM came: still serving, but no longer ready."""
        return self._draining

    def drain(self) -> None:
        """From now on not ready."""
        self._draining = True

    @property
    def problem(self) -> str | None:
        """Why the server is not ready; None when it is."""
        if self._draining:
            return "draining: this server is about to end"
        return None if self.loaded else self._problem

    def close(self) -> None:
        """Give the model's memory back once nothing uses it."""
        if self._version is not None:
            self._version.model.close()
