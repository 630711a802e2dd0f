"""Objects beside the server's Deployment and Service: disruption budget, autoscaler, Ingress and HTTPRoute."""

from collections.abc import Mapping

from speechmodel_api.serving_spec import Autoscaling, IngressSpec, RouteSpec, Scaler
from speechmodel_api.spec import Serving, SpeechModelSpec
from speechmodel_plan import names
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import Manifest


def accessories(owner: Owner, spec: SpeechModelSpec) -> Mapping[str, Manifest]:
    """Return the wanted objects by kind; none without serving."""
    serving = spec.serving
    if serving is None:
        return {}
    service = service_name(owner, serving)
    wanted: dict[str, tuple[str, Manifest]] = {}
    if serving.least_replicas > 1:
        wanted["PodDisruptionBudget"] = "policy/v1", _budget(owner)
    if serving.autoscaling and serving.autoscaling.scaler is Scaler.HORIZONTAL_POD_AUTOSCALER:
        wanted["HorizontalPodAutoscaler"] = "autoscaling/v2", _autoscaler(owner, serving.autoscaling)
    if serving.ingress:
        wanted["Ingress"] = "networking.k8s.io/v1", _ingress(serving.ingress, service)
    if serving.route:
        wanted["HTTPRoute"] = "gateway.networking.k8s.io/v1", _route(serving.route, service)
    annotations = {"Ingress": serving.ingress.annotations if serving.ingress else {}}
    return {
        kind: labels.signed(
            {
                "apiVersion": version,
                "kind": kind,
                "metadata": labels.metadata(owner, names.deployment_name(owner.name), labels.SERVER)
                | {"annotations": dict(annotations.get(kind, {}))},
                "spec": body,
            }
        )
        for kind, (version, body) in wanted.items()
    }


def service_name(owner: Owner, serving: Serving) -> str:
    """Return the name of the Service."""
    return serving.service.name or owner.name


def _budget(owner: Owner) -> Manifest:
    """Return a budget that lets a drain take one replica at a time, and at once those that are not ready."""
    return {
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels.server_selector(owner)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def _autoscaler(owner: Owner, autoscaling: Autoscaling) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.deployment_name(owner.name)},
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
        # the container alone: the use of a sidecar says nothing about the load
        "metrics": [
            {
                "type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": labels.SERVER, "target": target},
            }
        ],
    }


def _ingress(ingress: IngressSpec, service: str) -> Manifest:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    body: Manifest = {"rules": [{"host": ingress.host, "http": {"paths": paths}}]}
    if ingress.ingress_class_name:
        body["ingressClassName"] = ingress.ingress_class_name
    if ingress.tls:
        body["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls.secret_name}]
    return body


def _route(route: RouteSpec, service: str) -> Manifest:
    body: Manifest = {
        "parentRefs": [parent.model_dump(by_alias=True, exclude_none=True) for parent in route.parent_refs],
        "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
    }
    if route.hostnames:
        body["hostnames"] = list(route.hostnames)
    return body
