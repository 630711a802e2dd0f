"""`SpeechModel.spec`: the desired state of a speech recogniser.

Attribute docstrings are the descriptions that `kubectl explain` shows. Every list, map and string
has a bound, because the API server rejects CEL rules over unbounded ones. A schema may become less
strict but never stricter, except for what the types reject, which ratcheting (Kubernetes 1.30) allows in stored objects. Names
never change, and a field is added together with its behaviour.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.dataset_spec import Dataset
from speechmodel_api.decoding_spec import DecodingSpec
from speechmodel_api.evaluation_spec import Evaluation
from speechmodel_api.pods import Environment, PodTemplate
from speechmodel_api.schema import LocalObjectReference, S3Target, cel
from speechmodel_api.serving_spec import (
    Autoscaling,
    Cache,
    Canary,
    IngressSpec,
    RouteSpec,
    ServerSettings,
    Takes,
    TopologySpread,
    Wyoming,
)
from speechmodel_api.training_spec import Training

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH = 36
"""Longest name of a SpeechModel, so that `<model>-<stage>-<key>-<attempt>` stays within 63
characters."""
NAME_RULE = (
    f"must be at most {NAME_LENGTH} lowercase letters, digits or '-', "
    "start with a letter, and end with a letter or digit"
)


class DeletionPolicy(StrEnum):
    """Defines what happens to the published objects when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


PublicKey = Annotated[
    str,
    Field(max_length=1024, pattern=r"^-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=]+\n)+-----END PUBLIC KEY-----\n?$"),
]


class Signing(ApiModel):
    """Signatures of published versions, by an elliptic curve key (P-256, P-384 or P-521)."""

    private_key_secret_ref: LocalObjectReference
    """Secret whose key SIGNING_KEY holds the private key in PEM, without a passphrase. Only the stage
    publish receives it, as an environment variable; the operator does not read the Secret."""
    public_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=8)]
    """Public keys in PEM. A signed version is loaded only if one of them verifies its signature. The
    private key must belong to one of them. To change keys, add the new public key, replace the private
    key, and remove the old public key once status.history has no version that must be served with it."""


class Publish(ApiModel):
    """Destination of finished models."""

    s3: S3Target
    """Bucket that finished models are uploaded to and served from. If the bucket, the prefix or the
    endpoint changes, the model is published again, and earlier objects stay where they are."""
    signing: Signing | None = None
    """Signs each version when it is published, and verifies the signature before the version is loaded.
    An edit of publicKeys publishes the newest version again and signs it. If not set, versions are not
    signed and no signature is verified."""
    tflite: bool = False
    """Also publishes the model as output_graph.tflite, for deepspeech-tflite 0.9.3 or stt on a phone or a
    single-board computer. Its weights are 8-bit integers. Servers do not use it. A change makes another
    version of the same model, without training. Defaults to false."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """Defines what happens to the published objects when the SpeechModel is deleted. Retain keeps
    them. Delete removes every object below the prefix of this SpeechModel before the SpeechModel
    itself. If that takes longer than 120 seconds, an Event names the prefix, which must then be
    removed by hand. Defaults to Retain."""


class ServiceSpec(ApiModel):
    """The Service in front of the server pods."""

    name: Annotated[str, Field(max_length=63, pattern=NAME_PATTERN)] | None = None
    """Name of the Service, which listens on port 80. A Service that belongs to something else is
    never taken over. Defaults to the name of the SpeechModel."""


_KEYS_RULE = "!has(self.takes) || !has(self.takes.misheard) || has(self.apiKeysSecretRef)"
_KEYS_MESSAGE = "takes.misheard lets users of the server play requests of other people: set apiKeysSecretRef too"


_RETRAIN_RULE = "!has(self.takes) || !has(self.takes.retrain) || has(self.apiKeysSecretRef)"
_RETRAIN_MESSAGE = "takes.retrain lets users of the server start a training: set apiKeysSecretRef too"


class Serving(ApiModel, json_schema_extra=cel(_KEYS_RULE, _KEYS_MESSAGE, (_RETRAIN_RULE, _RETRAIN_MESSAGE))):
    """The server that transcribes audio with the published model."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of server pods. 0 keeps the Deployment and serves nothing. It has no effect with
    autoscaling. Defaults to 1."""
    autoscaling: Autoscaling | None = None
    """Number of server pods that follows the load. If not set, replicas is the number."""
    canary: Canary | None = None
    """Lets the new version prove itself on a share of the requests before it is promoted; `{}` uses the
    defaults. It applies when a version that passed evaluation.gate is to replace a served one, and not to
    pinnedVersion. If more requests fail than allowed, the version is not promoted. To try a failed version
    again, edit this field or set the annotation speechops.dev/retry to a new value. If not set, a new
    version is rolled out at once."""
    pod_template: PodTemplate = PodTemplate()
    """Settings of the server pods. They do not mount the workspace and are independent of
    training.podTemplate. They run on x86-64 and arm64 nodes. The pods of a version that needs libdeepspeech run
    on x86-64 only, unless nodeSelector names another kubernetes.io/arch. A change rolls out new pods while the
    old ones still serve."""
    service: ServiceSpec = ServiceSpec()
    """Service in front of the server pods. It sends requests only to pods that are ready."""
    pinned_version: Annotated[str, Field(pattern="^[0-9a-f]{8}$")] | None = None
    """Version to serve, from status.history. It is served at once, without regard to evaluation.gate, and
    newer versions are trained and published but not promoted until the field is removed. A version that is
    not in the history changes nothing, which the condition Promoted says. If not set, the newest version
    that passes evaluation.gate is served."""
    api_keys_secret_ref: Annotated[LocalObjectReference | None, Field(alias="apiKeysSecretRef")] = None
    """Secret with API keys, one or more in each of its values. Requests then need one of them as
    `Authorization: Bearer KEY`. An edit of the Secret counts within a minute, without a restart. If not
    set, everyone who reaches the server may use it."""
    settings: ServerSettings = ServerSettings()
    """Settings of the server program, such as the limits of a request."""
    wyoming: Wyoming = Wyoming()
    """Speech recognition for Home Assistant by the Wyoming protocol. It is off by default."""
    cache: Cache | None = None
    """Claim on which the server pods keep the files of versions, so that a version is downloaded once and
    not by every pod. Files that no server has used for 7 days are removed. If the claim is full or cannot be
    written, a pod downloads a copy of its own, as the log of its container fetch says. If not set, every pod
    downloads the version."""
    env: Environment = ()
    """Environment variables to add to the server pods, such as HTTPS_PROXY for the download of the
    model."""
    takes: Takes | None = None
    """Lets people record takes for the dataset on the page /record of the server; `{}` uses the
    defaults. Takes are kept in the folder `takes` of the dataset. On a claim, the server pods mount it
    read-write and must be able to share it with the stage pods. In a bucket, the access key of
    dataset.source.s3 must also be allowed to write and to delete, and the server pods receive it. Change
    dataset.revision to train with new takes. Everyone who can use the server can record and delete
    takes, so set apiKeysSecretRef. takes.misheard also keeps what the server did not understand, and
    takes.retrain offers a button that trains with the takes; both need apiKeysSecretRef. If not set, the
    server keeps no recording."""
    topology_spread: Annotated[tuple[TopologySpread, ...], Field(max_length=4)] = ()
    """Rules that spread the server pods over nodes or zones. If empty, the scheduler uses the
    defaults of the cluster."""
    ingress: IngressSpec | None = None
    """Ingress in front of the Service. If not set, the server is reached inside the cluster only.
    Removing it deletes the Ingress."""
    route: RouteSpec | None = None
    """HTTPRoute of the Gateway API in front of the Service. Removing it deletes the HTTPRoute."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.takes and self.api_keys_secret_ref is None:
            if self.takes.misheard:
                raise ValueError(_KEYS_MESSAGE)
            if self.takes.retrain:
                raise ValueError(_RETRAIN_MESSAGE)

    @property
    def least_replicas(self) -> int:
        """Number of server pods that there are at any load."""
        return self.autoscaling.min_replicas if self.autoscaling else self.replicas


class SpeechModelSpec(ApiModel):
    """Desired state of a speech recogniser. An edit reruns only the stages that it affects."""

    language: Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
    """Language of the recordings as a BCP 47 tag, such as es or es-CL. It selects the folder and
    the column of a Commands dataset, and the rules that normalise transcripts."""
    suspend: bool = False
    """If true, no stage runs. A running trainer saves a checkpoint and exits, and serving
    continues. Set it to false to continue from that checkpoint. Defaults to false."""
    dataset: Dataset
    """Recordings with their transcripts, and the settings that turn them into clips."""
    training: Training = Training()
    """Settings of training, of its pods and of the workspace that holds the checkpoints. If not
    set, every field has its default."""
    decoding: DecodingSpec = DecodingSpec()
    """Settings of the decoder, which turns audio into text. Evaluation and serving share them, so
    the measured error rate is the one that users get."""
    evaluation: Evaluation = Evaluation()
    """Decision whether a new version is served. If not set, every version is."""
    publish: Publish
    """Destination of finished models. The servers load models from there."""
    serving: Serving | None = None
    """Server that transcribes audio with the published model. If not set, the model is published
    but not served; `{}` serves it with one pod. Removing it deletes the Deployment and the
    Service."""

    @classmethod
    def of(cls, model: dict[str, Any]) -> Self:
        """Return the spec of a SpeechModel object from the API server."""
        return cls.model_validate(model["spec"])
