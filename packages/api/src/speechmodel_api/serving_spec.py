"""`SpeechModel.spec.serving` beyond its pods: settings of the server, scaling, and access from outside the cluster."""

from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from speechmodel_api.base import ApiModel
from speechmodel_api.pods import OWN_PREFIX
from speechmodel_api.schema import LabelKey, ObjectName, S3Location, cel

HOST_PATTERN = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
Host = Annotated[str, Field(max_length=253, pattern=HOST_PATTERN)]
"""A DNS name, or a wildcard such as *.example.com."""

_ORDER_RULE = "self.minReplicas <= self.maxReplicas"
_ORDER_MESSAGE = "minReplicas must not be greater than maxReplicas"
_ZERO_RULE = "self.minReplicas >= 1 || self.scaler == 'External'"
_ZERO_MESSAGE = "minReplicas must be at least 1, or scaler must be External"


_Alias = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^,\s]+$")]
Origin = Annotated[str, Field(max_length=253, pattern=r"^(\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^,\s/]+)$")]
"""The origin of a web page or of an app (`capacitor://localhost`), without a slash at its end, or `null` or `*`."""


class Engine(StrEnum):
    """Defines the engine that runs the network of a version."""

    AUTO = "Auto"
    DEEP_SPEECH = "DeepSpeech"
    NATIVE = "Native"


class ServerSettings(ApiModel):
    """Settings of the server program. A field that is not set has the default of the server."""

    engine: Engine | None = None
    """Engine that runs the network. DeepSpeech runs it in 32-bit floats: by libdeepspeech in free text, and
    by ONNX Runtime with a grammar. Native runs it in 8-bit integers by ONNX Runtime, which is faster and
    needs no libdeepspeech. Auto is Native for a version if both engines gave the same answer to every clip
    that evaluate measured, and DeepSpeech for others. A version with a scorer, or one that was published
    before Native existed, is served by DeepSpeech whatever is set. Defaults to Auto."""
    decoders: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of recordings that a pod decodes at once, and of streams that it decodes beside them. Defaults to
    the number of CPUs that the pod may use. With the engine Native, whose recordings and streams share
    runs of the network, it defaults to four times as many."""
    waiting: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Number of requests that may wait for a decoder of a pod. One more is answered with 429. The
    bodies of all requests together may have maxUploadBytes times the sum of `waiting` and `decoders`,
    or of `waiting` and the number of CPUs if `decoders` is not set. A request beyond that is answered
    with 429 too. Defaults to 32."""
    max_upload_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] | None = None
    """Largest request body, in bytes. A larger one is answered with 413. Defaults to 26214400 (25
    MiB)."""
    max_audio_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Longest recording, in seconds. A longer one is answered with 400. Defaults to 7200."""
    upload_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Time in seconds in which a request body must arrive. Defaults to 30."""
    stream_idle_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Time in seconds in which the next message of a stream must arrive: Vosk, realtime sessions and Wyoming.
    A stream that sends none in this time is closed, because it holds a place. Raise it for clients that
    send nothing while nobody speaks, such as push-to-talk. Pings do not count as messages. Defaults to 30, or
    to uploadSeconds if that is longer."""
    header_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Time in seconds in which the headers of a request must arrive. A slower connection is closed.
    Defaults to 10."""
    keep_alive_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    """Time in seconds for which an idle connection stays open. Set it higher than the idle timeout of the
    load balancer in front of the server: 60 s on AWS and with ingress-nginx, 600 s on Google Cloud.
    Otherwise, some requests arrive while their connection is being closed, and the load balancer answers
    them with 502. Defaults to 75, which is too short for Google Cloud."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Maximum number of open connections of a pod, over HTTP and Wyoming together; at most half of them are
    over Wyoming. At the limit, a new connection replaces the one that has been idle longest, or gets 503 if
    none is idle. Probes are always answered. Defaults to 1000."""
    model_aliases: Annotated[tuple[_Alias, ...], Field(min_length=1, max_length=16)] | None = None
    """Other names of the model in requests, for clients whose model name is fixed. Defaults to
    whisper-1 and gpt-4o-transcribe."""
    cors_origins: Annotated[tuple[Origin, ...], Field(min_length=1, max_length=32)] | None = None
    """Origins whose web pages may use the API, such as `https://home.example`. `*` allows every page.
    Defaults to none; the page of the server itself needs none."""
    root_path: Annotated[str, Field(max_length=256, pattern=r"^/.*[^/]$")] | None = None
    """Path that a proxy in front of the server removes from requests, such as `/speech`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None
    """Lowest severity that the server logs: DEBUG, INFO, WARNING or ERROR. Defaults to INFO."""

    def environment(self) -> dict[str, str]:
        """Return the variables that the server program reads. Lists have commas."""
        given = self.model_dump(exclude_none=True)
        return {
            OWN_PREFIX + name.upper(): ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in given.items()
        }


class Misheard(ApiModel):
    """An inbox of clips that the server rejected or was not sure of."""

    keep_days: Annotated[int, Field(ge=1, le=365)] = 14
    """Number of days after which a server deletes a clip. Clips stay while no server with serving.takes
    runs. An edit counts for the clips that are already there. Defaults to 14."""
    below_confidence: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Confidence below which a recognised phrase, or a free text, is doubtful, so that its clip is kept. Clips without an
    answer are always kept. 0 keeps only those. For versions in free text that were published without confidences, only
    clips without an answer are kept. Defaults to 0.8."""
    max_mebibytes: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Largest size of the inbox in MiB, about 1.8 MiB for a minute. The oldest clips are deleted to make
    room for new ones. Defaults to 200."""


class Retrain(ApiModel):
    """A button that trains a new version with the takes."""


class Takes(ApiModel):
    """Recordings, called takes, that people make for the dataset on the page /record of the server."""

    wanted: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of takes of each sentence that the page asks each speaker for. A speaker may record
    more. Defaults to 5."""
    misheard: Misheard | None = None
    """Keeps clips of requests that the server rejected or was not sure of, in the folder `misheard/NAME` of
    the dataset, where NAME is that of the SpeechModel. People can play them on the page /misheard and turn
    them into takes. `{}` uses the defaults. It needs serving.apiKeysSecretRef, because everyone who can use
    the API can play the clips. Tell the people who use the server, as its pages do. If the field
    is removed and serving.takes stays, the servers delete the clips; otherwise clips stay while no server
    runs. If not set, the server keeps no recording of a request."""
    retrain: Retrain | None = None
    """Offers a button on the pages /record and /misheard that trains a new version: the server sets
    dataset.revision of this SpeechModel to the current time. `{}` turns it on. The server pods then run as
    the ServiceAccount NAME-retrain, where NAME is that of the SpeechModel. It must exist and be allowed to
    get and patch this SpeechModel: name the SpeechModel in the value retrain.models of the operator's
    chart. It needs serving.apiKeysSecretRef, because a training costs time on the cluster. `speechmodel
    run` does not offer it. If not set, the server pods have no access to the API server."""

    def environment(self, dataset: PurePath | S3Location) -> dict[str, str]:
        """Return the variables that the server program reads; `dataset` is the folder or the bucket of the dataset."""
        found = {"TAKES_WANTED": str(self.wanted)}
        if isinstance(dataset, S3Location):
            found["TAKES_BUCKET"] = dataset.model_dump_json(by_alias=True, exclude_none=True)
        else:
            found["TAKES"] = str(dataset)
        if (misheard := self.misheard) is not None:
            found |= {
                "MISHEARD_DAYS": str(misheard.keep_days),
                "MISHEARD_BELOW": str(misheard.below_confidence),
                "MISHEARD_MEBIBYTES": str(misheard.max_mebibytes),
            }
        return {OWN_PREFIX + name: value for name, value in found.items()}


class Cache(ApiModel):
    """A claim on which server pods share the files of versions."""

    claim_name: ObjectName
    """Name of a PersistentVolumeClaim in the namespace of the SpeechModel, with room for four versions of
    each model that uses it. The files are in its folder speechmodel-cache. With ReadWriteOnce all server pods
    must run on one node; pods on several nodes need ReadWriteMany. Until the claim exists, the pods stay
    unscheduled. Everyone who can write to the claim can change a model that is served."""


WYOMING_PORT = 10300
"""The port of the Wyoming protocol, on pods and on the Service. Its servers usually have this one."""


class Wyoming(ApiModel):
    """The Wyoming protocol of Home Assistant."""

    enabled: bool = False
    """If true, the server offers the protocol on port 10300 of its pods and of the Service. The
    protocol has no authentication: everyone who reaches this port can use the model, even if
    apiKeysSecretRef is set. Defaults to false."""


class Scaler(StrEnum):
    """Defines what sets the number of server pods."""

    HORIZONTAL_POD_AUTOSCALER = "HorizontalPodAutoscaler"
    EXTERNAL = "External"


class Autoscaling(ApiModel, json_schema_extra=cel(_ORDER_RULE, _ORDER_MESSAGE, (_ZERO_RULE, _ZERO_MESSAGE))):
    """A number of server pods that follows the load."""

    scaler: Scaler = Scaler.HORIZONTAL_POD_AUTOSCALER
    """Defines what sets the number of pods. HorizontalPodAutoscaler creates one, which follows the
    use of CPU and needs a metrics server. External creates nothing and leaves the number to another
    program, such as KEDA. Defaults to HorizontalPodAutoscaler."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Smallest number of pods. 0 is possible only with the scaler External. Defaults to 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Largest number of pods, whatever the load."""
    target_cpu_percent: Annotated[int, Field(alias="targetCPUPercent", ge=1, le=1000)] = 80
    """Mean use of CPU that the HorizontalPodAutoscaler aims at, as a percentage of the CPU that the
    pods request. Set serving.podTemplate.resources.requests.cpu to what one server may use, because
    a server requests only 100m by default. Defaults to 80."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(_ORDER_MESSAGE)
        if self.min_replicas == 0 and self.scaler is not Scaler.EXTERNAL:
            raise ValueError(_ZERO_MESSAGE)
        return self


class Canary(ApiModel):
    """A canary: before a version is promoted, a few servers of it take a share of the requests."""

    percent: Annotated[int, Field(ge=1, le=50)] = 20
    """Share of the servers that have the new version, in percent. They are added to those of the served
    version, and their number is rounded, with one server at least: with one replica, the new version gets
    half of the requests whatever the percentage. Defaults to 20."""
    minutes: Annotated[int, Field(ge=1, le=10_080)] = 10
    """Time in minutes for which the servers of the new version take requests, from when all of them are
    ready. Defaults to 10."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of the requests to these servers that may fail, from 0 to 1. A request is a recording
    or an utterance of a stream. It fails if the server reports an error of its own, such as status 500; 503
    and errors of clients do not count. If more fail, the version is not promoted. Defaults to 0.01 (1 %)."""


class WhenUnsatisfiable(StrEnum):
    """Defines what happens to a pod that cannot be spread."""

    SCHEDULE_ANYWAY = "ScheduleAnyway"
    DO_NOT_SCHEDULE = "DoNotSchedule"


class TopologySpread(ApiModel):
    """A rule that spreads the server pods over nodes or zones."""

    topology_key: LabelKey
    """Label of nodes. Nodes with the same value are one domain, such as
    topology.kubernetes.io/zone or kubernetes.io/hostname."""
    max_skew: Annotated[int, Field(ge=1, le=1000)] = 1
    """Largest difference between the numbers of pods in two domains. Defaults to 1."""
    when_unsatisfiable: WhenUnsatisfiable = WhenUnsatisfiable.SCHEDULE_ANYWAY
    """Defines what happens to a pod that cannot be placed within maxSkew. ScheduleAnyway places it
    where the skew is smallest. DoNotSchedule lets it wait. Defaults to ScheduleAnyway."""


class IngressTLS(ApiModel):
    """The certificate of an Ingress."""

    secret_name: ObjectName
    """Secret with the certificate and its key, such as one that cert-manager writes."""


class IngressSpec(ApiModel):
    """An Ingress in front of the Service. The operator must be installed with exposure.ingress."""

    host: Host
    """DNS name that the server is reached by. Every path of it leads to the server."""
    ingress_class_name: ObjectName | None = None
    """Name of the IngressClass. Defaults to the default class of the cluster."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = {}
    """Annotations to add to the Ingress, for its controller or for cert-manager. Raise the limits of
    the controller for long recordings, such as nginx.ingress.kubernetes.io/proxy-body-size: 25m."""
    tls: IngressTLS | None = None
    """Certificate for the host. If not set, the Ingress serves HTTP, or the default certificate of
    its controller."""


class ParentRef(ApiModel):
    """A Gateway that the HTTPRoute attaches to."""

    name: ObjectName
    """Name of the Gateway, such as public."""
    namespace: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None = None
    """Namespace of the Gateway, whose listener must allow routes from this namespace. Defaults to
    the namespace of the SpeechModel."""
    section_name: ObjectName | None = None
    """Name of the listener. Defaults to all listeners."""


class RouteSpec(ApiModel):
    """An HTTPRoute of the Gateway API in front of the Service. The operator must be installed with
    exposure.gatewayAPI."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=8)]
    """Gateways that the route attaches to."""
    hostnames: Annotated[tuple[Host, ...], Field(max_length=16)] = ()
    """DNS names that the server is reached by. If empty, those of the listeners."""
