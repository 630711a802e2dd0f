"""The state of the server: loading, ready, failed or draining."""

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from speechmodel_stagekit.cpus import available_cpus

from speechmodel_inference.errors import ModelFolderError, NotReady
from speechmodel_inference.version import ServedVersion, load_version
from speechmodel_inference.version_files import VersionFiles

log = logging.getLogger(__name__)


class Lifecycle:
    """Holds the loaded version, or the reason why there is none."""

    def __init__(self, files: VersionFiles) -> None:
        self._files = files
        self._loading: Future[ServedVersion] | None = None
        self._version: ServedVersion | None = None
        self._problem = "loading the model"
        self._ended = asyncio.Event()
        """Set once the version is loaded or has failed to load."""
        self._draining = False
        self._asked_at = 0.0

    def begin(self) -> Future[ServedVersion]:
        """Begin to load the version, in a thread, unless it is being loaded. load() waits for it."""
        if self._loading is None:
            thread = ThreadPoolExecutor(1, thread_name_prefix="loader")
            self._loading = thread.submit(load_version, self._files, cpus=available_cpus())
            thread.shutdown(wait=False)
        return self._loading

    async def load(self) -> None:
        """Load the version, while the server answers probes."""
        try:
            self._version = await asyncio.wrap_future(self.begin())
        except ModelFolderError as error:
            self._problem = str(error)
            log.error("not ready: %s", error)
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            log.exception("not ready")
            raise
        finally:
            self._ended.set()

    async def until_loaded(self, seconds: float) -> None:
        """Wait until the version is loaded or has failed to load, for at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    @property
    def version(self) -> ServedVersion:
        """The served version. Raises NotReady while there is none."""
        if self._version is None:
            raise NotReady(self._problem)
        return self._version

    @property
    def loaded(self) -> bool:
        """True once requests can be served, and while draining."""
        return self._version is not None

    @property
    def draining(self) -> bool:
        """True after SIGTERM: the server still serves, but is not ready."""
        return self._draining

    def drain(self) -> None:
        """Report not ready from now on."""
        self._draining = True
        self._asked_at = time.monotonic()

    def asked(self) -> None:
        """Note that somebody still sends requests."""
        self._asked_at = time.monotonic()

    @property
    def quiet_seconds(self) -> float:
        """Time since the last request, or since `drain` if none came after it."""
        return time.monotonic() - self._asked_at

    @property
    def problem(self) -> str | None:
        """The reason why the server is not ready, or None."""
        if self._draining:
            return "draining: this server is shutting down"
        return None if self.loaded else self._problem

    def close(self) -> None:
        """Release the model's memory. Nothing may use the model any more."""
        if self._version is not None:
            self._version.decoder.close()
