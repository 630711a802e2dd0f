"""The connection to the API server: the service account in a pod, or else the kubeconfig."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config
from yarl import URL

from speechmodel_operator.settings import SettingsError

log = logging.getLogger(__name__)

USER_AGENT = "speechmodel-operator/0.1.0"
READ_BUFFER_BYTES = 2**21
KEEP_SECONDS = 60.0
"""Time for which an unused connection is kept, since a new one costs more than a call. The API server closes them after 90 s."""
SKEW = timedelta(seconds=5)
"""Smallest change of the difference of two clocks that counts: the API server gives whole seconds, and an answer takes time."""
ANSWERS = 3
"""Answers in a row that give another difference until it counts: one may have waited while this process was stopped, and the clocks of
several API servers may differ.
"""


class Connection:
    """Sends requests with the credentials of a configuration, and knows the time of the API server.

    The Kubernetes client reads the configuration, the certificates and the token, which it renews. Its own calls walk through every
    body in Python and take twice the processor time of these.
    """

    def __init__(
        self, configuration: client.Configuration, session: aiohttp.ClientSession, clock: Callable[[], datetime]
    ) -> None:
        self._configuration, self._session, self._clock = configuration, session, clock
        self._ahead = timedelta()
        """Time by which the clock of the API server is ahead of ours."""
        self._others: list[timedelta] = []
        """The same by the last answers, while they agree on another one."""

    def now(self) -> datetime:
        """Return the time by the clock of the API server, which dates every object, as its last answer gave it."""
        return self._clock() + self._ahead

    async def send(
        self, method: str, path: str, query: Sequence[tuple[str, str]], body: bytes | None, content: str, seconds: float
    ) -> aiohttp.ClientResponse:
        """Return an answer of the API server, whatever its status is, once its headers are there."""
        configuration, headers = self._configuration, {"Content-Type": content}
        if token := await configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
            headers["Authorization"] = token
        address = f"{configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        response = await self._session.request(
            method,
            URL(address, encoded=True),
            data=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(seconds),
            proxy=configuration.proxy,
            proxy_headers=configuration.proxy_headers,
            server_hostname=configuration.tls_server_name,
        )
        self._compare(response.headers.get("Date", ""))
        return response

    def _compare(self, date: str) -> None:
        """Compare the clocks by the date of an answer. A proxy may drop or change it."""
        try:
            ahead = parsedate_to_datetime(date) - self._clock()
        except (TypeError, ValueError):
            return
        if abs(ahead - self._ahead) <= SKEW:
            self._others = []
            return
        self._others = [*(other for other in self._others if abs(ahead - other) <= SKEW), ahead]
        if len(self._others) == ANSWERS:
            self._others, self._ahead = [], ahead
            self._say()

    def _say(self) -> None:
        seconds = self._ahead.total_seconds()
        if abs(self._ahead) <= SKEW:
            log.info("the clocks of this machine and of the API server agree again")
        else:
            place = "behind" if seconds > 0 else "ahead of"
            text = "the clock of this machine is %.0f s %s that of the API server, whose time is used; set it by NTP"
            log.warning(text, abs(seconds), place)


@asynccontextmanager
async def connect(
    configuration: client.Configuration, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[Connection]:
    """Give a connection while the block runs. `clock` is that of this machine."""
    async with client.ApiClient(configuration) as prepared:
        context = prepared.rest_client.ssl_context
    # no limit: watches stay open, and Api limits the calls
    connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=KEEP_SECONDS)
    # the API server would compress long lists, which takes it longer than to send them through a cluster's network
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    async with aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=READ_BUFFER_BYTES) as session:
        yield Connection(configuration, session, clock)


async def load_configuration() -> client.Configuration:
    """Return the service account's configuration, or that of the kubeconfig's current context. Raises SettingsError.

    Python 3.13 rejects a CA without key usage, which many clusters still have. Everything that earlier versions check is checked.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # generated without types
    except config.ConfigException as outside:
        try:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # the same
        except Exception as error:  # the file's YAML, certificates and plugins each have errors of their own
            raise SettingsError(
                "no cluster found; set KUBECONFIG to a kubeconfig file, or install the operator in a cluster with its chart "
                f"(service account: {outside}; kubeconfig: {error})"
            ) from error
    configuration.disable_strict_ssl_verification = True
    host = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(host.netloc):
        configuration.proxy = getproxies().get(host.scheme)
    return configuration
