"""How to reach the API server: from inside a pod, else by kubeconfig."""

import asyncio
import logging

from kubernetes.aio import client, config
from speechmodel_api.crd import GROUP, PLURAL, VERSION

from speechmodel_operator.cluster.api import Api

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0


async def load_configuration() -> client.Configuration:
    """The service account's, or the present context's.

    Python 3.13 refuses a CA without key usage, which many clusters still have; what it checked before it goes on checking.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # generated without types
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # the same
    configuration.disable_strict_ssl_verification = True
    return configuration


async def wait_until_served(api: Api) -> None:
    """Until the API server knows SpeechModels. An API server that cannot be reached is an error, and ends the operator: Kubernetes
    starts it again, and `helm install --wait` does not take a blind operator for a ready one."""
    while not await api.serves(GROUP, VERSION, PLURAL):
        log.warning(
            "the CustomResourceDefinition %s.%s is not there; install it (crds.enabled of the chart)", PLURAL, GROUP
        )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
