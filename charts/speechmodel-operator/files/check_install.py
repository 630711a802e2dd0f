"""What `helm test` runs: in the operator's image, as the operator's ServiceAccount.

It asks three things and prints an answer to each: does the API server serve every field that this operator knows; may the
ServiceAccount do what the operator has to do; does the running operator say that it is well. It writes nothing but
access reviews, which any ServiceAccount may ask for and which leave no trace. Exit code 1 when an answer is no.

Environment: CHECK_HEALTH is the URL of the operator's /healthz; CHECK_RULES the rules of its roles, as JSON; CHECK_NAMESPACES
where they hold, separated by commas, empty for the whole cluster.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechmodel_api.crd import GROUP, KIND, VERSION, schema

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HEALTH_SECONDS = 60
"""How long the operator may take to be well: it may just have been started."""


def main() -> int:
    """Print what is well and what is not; returns the exit code."""
    failed = False
    for title, check in (("schema", unserved_fields), ("permissions", missing_permissions), ("health", ill_health)):
        problems = list(check())
        print(f"{title}: {'ok' if not problems else ''}", *problems, sep="\n  " if problems else "", flush=True)
        failed |= bool(problems)
    return int(failed)


def unserved_fields() -> Iterator[str]:
    """Fields that the operator knows and the API server would drop."""
    try:
        document = api(f"/openapi/v3/apis/{GROUP}/{VERSION}")
    except urllib.error.HTTPError as error:
        error.close()
        yield f"the API server does not serve {GROUP}/{VERSION} ({error}): install the CustomResourceDefinition"
        return
    served = next(s for name, s in document["components"]["schemas"].items() if name.endswith(f".{VERSION}.{KIND}"))
    if missing := sorted(set(fields(schema())) - set(fields(served))):
        yield f"the CustomResourceDefinition is older than the operator and lacks {', '.join(missing)}: upgrade it"


def fields(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of all properties below a schema."""
    for name, child in node.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield path + name
            yield from fields(child, f"{path}{name}.")
    if "items" in node:
        yield from fields(node["items"], path)


def missing_permissions() -> Iterator[str]:
    """What the ServiceAccount should be allowed to do, and is not."""
    for namespace in os.environ["CHECK_NAMESPACES"].split(","):
        for rule in json.loads(os.environ["CHECK_RULES"]):
            resource, _, subresource = rule["resources"][0].partition("/")
            attributes = {"namespace": namespace, "group": rule["apiGroups"][0], "resource": resource}
            for verb in rule["verbs"]:
                asked = attributes | {"subresource": subresource, "verb": verb}
                review = api("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"resourceAttributes": asked})
                if not review["status"]["allowed"]:
                    yield f"may not {verb} {rule['resources'][0]} in {namespace or 'all namespaces'}"


def ill_health() -> Iterator[str]:
    """Why the operator is not well, asked for a while."""
    url = os.environ["CHECK_HEALTH"]
    deadline = time.monotonic() + HEALTH_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - the chart says http://
                return
        except urllib.error.HTTPError as error:
            with error:
                problem = f"{url} says {error}: {error.read(1000).decode(errors='replace')}"
        except OSError as error:
            problem = f"{url}: {error}; is the operator's pod running?"
        if time.monotonic() > deadline:
            yield problem
            return
        time.sleep(1)


def api(path: str, spec: dict[str, Any] | None = None) -> Any:
    """What the API server answers to a GET, or to a POST of an object with this spec; raises HTTPError."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"}
    body = None if spec is None else json.dumps({"spec": spec}).encode()
    request = urllib.request.Request(f"https://{host}:{port}{path}", body, headers)
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # new in Python 3.13; many clusters' authorities lack a key usage
    with urllib.request.urlopen(request, timeout=30, context=context) as response:  # noqa: S310 - https:// above
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main())
