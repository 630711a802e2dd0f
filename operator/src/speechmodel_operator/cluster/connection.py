"""The connection to the API server: the service account in a pod, or else the kubeconfig."""

import asyncio
import logging
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio import client, config
from speechmodel_api.crd import GROUP, PLURAL, VERSION

from speechmodel_operator.cluster.api import Api

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0


async def load_configuration() -> client.Configuration:
    """Return the service account's configuration, or that of the kubeconfig's current context.

    Python 3.13 rejects a CA without key usage, which many clusters still have. Everything that earlier versions check is checked.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # generated without types
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # the same
    configuration.disable_strict_ssl_verification = True
    configuration.connection_pool_maxsize = 0  # no limit: watches stay open, and Api limits the calls
    # otherwise the client asks two threads for proxy and netrc at each call
    configuration.client_session_kwargs = {"trust_env": False}
    host = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(host.netloc):
        configuration.proxy = getproxies().get(host.scheme)
    return configuration


async def wait_until_served(api: Api) -> None:
    """Wait until the API server knows SpeechModels.

    An API server that cannot be reached ends the operator: Kubernetes restarts it, and `helm install --wait` keeps waiting.
    """
    while not await api.serves(GROUP, VERSION, PLURAL):
        log.warning(
            "the CustomResourceDefinition %s.%s is not installed; install it (crds.enabled of the chart)", PLURAL, GROUP
        )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
