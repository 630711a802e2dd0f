"""Check an installation of the operator.

`helm test` runs this program as the operator's ServiceAccount. It checks that the API server serves
every field that this operator knows, that the ServiceAccount has the permissions that the operator
needs, and that the running operator is healthy. It prints one result for each, and exits with 1 if a
check failed. It creates nothing but access reviews, which every ServiceAccount may create and which
are not stored.

Environment variables:

    CHECK_HEALTH      URL of the operator's /healthz
    CHECK_RULES       rules of the operator's roles, as JSON
    CHECK_NAMESPACES  namespaces that the roles are in, separated by commas; empty for the whole cluster
"""

import asyncio
import json
import os
import sys
import time
from http import HTTPStatus

import aiohttp
from kubernetes.aio import client
from speechmodel_api.crd import GROUP, VERSION
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.connection import connect, load_configuration
from speechmodel_operator.cluster.definition import missing_fields
from speechmodel_operator.cluster.errors import ClusterError

HEALTH_SECONDS = 60
"""Time that the operator has to become healthy, because it may just have started."""
REQUEST_SECONDS = 30.0


async def main() -> int:
    """Print the result of every check and return the exit code."""
    configuration = await load_configuration()
    async with connect(configuration) as connection, client.ApiClient(configuration) as prepared:
        failed = report("schema", await unserved_fields(Api(connection)))
        failed |= report("permissions", await missing_permissions(client.AuthorizationV1Api(prepared)))
        failed |= report("health", await ill_health(os.environ["CHECK_HEALTH"]))
    return int(failed)


def report(title: str, problems: list[str]) -> bool:
    """Print the result of a check and return True if it failed."""
    print(f"{title}: {'ok' if not problems else ''}", *problems, sep="\n  " if problems else "", flush=True)
    return bool(problems)


async def unserved_fields(api: Api) -> list[str]:
    """Return a problem if the API server would drop fields that the operator knows."""
    try:
        missing = await missing_fields(api)
    except ClusterError as error:
        status = f"{error.status} {HTTPStatus(error.status).phrase}"
        return [f"the API server does not serve {GROUP}/{VERSION} ({status}): install the CustomResourceDefinition"]
    if not missing:
        return []
    return [f"the CustomResourceDefinition is older than the operator and lacks {', '.join(missing)}: upgrade it"]


async def missing_permissions(api: client.AuthorizationV1Api) -> list[str]:
    """Return a problem for every verb that the operator needs and the ServiceAccount lacks."""
    problems = []
    for namespace in os.environ["CHECK_NAMESPACES"].split(","):
        for rule in json.loads(os.environ["CHECK_RULES"]):
            resource, _, subresource = rule["resources"][0].partition("/")
            for verb in rule["verbs"]:
                attributes = client.V1ResourceAttributes(
                    namespace=namespace,
                    group=rule["apiGroups"][0],
                    resource=resource,
                    subresource=subresource,
                    verb=verb,
                )
                spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
                review = await api.create_self_subject_access_review(
                    client.V1SelfSubjectAccessReview(spec=spec), _request_timeout=REQUEST_SECONDS
                )
                if not (review.status and review.status.allowed):
                    where = namespace or "all namespaces"
                    problems.append(f"the ServiceAccount may not {verb} {rule['resources'][0]} in {where}")
    return problems


async def ill_health(url: str) -> list[str]:
    """Return a problem if the operator does not become healthy in time."""
    deadline = time.monotonic() + HEALTH_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.ok:
                        return []
                    answer = (await response.text(errors="replace"))[:1000]
                    problem = f"{url} answered {response.status} {response.reason}: {answer}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{url} cannot be reached ({error}): check that the operator's pod is running"
            if time.monotonic() > deadline:
                return [problem]
            await asyncio.sleep(1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
