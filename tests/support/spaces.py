"""The operator installed by helm, and for each test a namespace with a bucket and a dataset."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from kubecluster import audit, images
from kubecluster.layout import Layout
from types_boto3_s3 import S3Client

from support import recordings
from support.helm_chart import NAME, Helm
from support.kube import Kubectl, Model, Object
from support.places import CHART, ROOT
from support.target import Target

OPERATOR_NAMESPACE = "speechops"
BEAMS = 32
"""A network that has learned for seconds says everything with much the same probability, which takes 500 beams a long time."""
PROGRESS_SECONDS = 1
"""The models of these tests train for seconds."""


@dataclass
class Space:
    """A namespace with a bucket."""

    kubectl: Kubectl
    target: Target
    bucket: str
    models: list[str] = field(default_factory=list)

    @property
    def s3(self) -> S3Client:
        """A boto3 client for this machine."""
        return boto3.client(
            "s3",
            endpoint_url=self.target.s3_local_endpoint,
            aws_access_key_id=self.target.access_key,
            aws_secret_access_key=self.target.secret_key,
            region_name="us-east-1",
        )

    def secret(self, name: str = "s3", *, secret_key: str | None = None) -> None:
        """Create or change the Secret with the bucket's credentials."""
        keys = {
            "AWS_ACCESS_KEY_ID": self.target.access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key or self.target.secret_key,
        }
        self.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys})

    def dataset(self, folder: Path, claim: str = "recordings", pod: Object | None = None) -> None:
        """Copy a folder to a claim, which is made if there is none: a pod mounts it, and `kubectl exec` runs `tar` there."""
        image = f"{self.target.registry}/speechops/pipeline:{self.target.tag}"
        if self.kubectl.get("pvc", claim) is None:
            self.kubectl.apply(recordings.claim(claim))
        self.kubectl.apply(recordings.loader(claim, image, pod or {}))
        loader = f"load-{claim}"
        self.kubectl.until_ready(loader)
        unpack = ("tar", "-C", "/dataset", "--no-same-owner", "-xf", "-")
        self.kubectl("exec", "-i", loader, "--", *unpack, stdin=recordings.archive(folder))

    def manifest(self, name: str = "espejo", **training: Any) -> Object:
        """Return a small SpeechModel, which trains in seconds."""
        hyperparameters = {"hiddenUnits": 32, "batchSize": 8, "learningRate": 0.002} | training.pop(
            "hyperparameters", {}
        )
        return {
            "apiVersion": "speechops.dev/v1alpha1",
            "kind": "SpeechModel",
            "metadata": {"name": name},
            "spec": {
                "language": "es",
                "dataset": {
                    "source": {"persistentVolumeClaim": {"claimName": "recordings"}},
                    "negatives": {"builtIn": False},  # two seconds of processor time in each prepare
                },
                "decoding": {"beamWidth": BEAMS},
                "training": {"maxEpochs": 3, "hyperparameters": hyperparameters} | training,
                "publish": {
                    "s3": {
                        "bucket": self.bucket,
                        "endpoint": self.target.s3_endpoint,
                        "secretRef": {"name": "s3"},
                    }
                },
            },
        }

    def apply(self, manifest: Object) -> Model:
        """Run `kubectl apply`."""
        self.kubectl.apply(manifest)
        return Model(self.kubectl, manifest["metadata"]["name"])

    def operator_writes(self, since: datetime) -> list[audit.Write]:
        """Return the writes of the operator, anywhere, as the API server of the cluster that the tests bring up saw them."""
        assert self.target.layout
        return audit.writes(self.target.layout, since, user=f"system:serviceaccount:{OPERATOR_NAMESPACE}:")

    def objects(self, prefix: str = "") -> list[str]:
        """Return the keys in the bucket."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]


def make_space(target: Target, name: str) -> Space:
    """Create a namespace under restricted pod security, with a bucket and its Secret."""
    unique = f"{name}-{uuid.uuid4().hex[:6]}"
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, unique)
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "speechops.dev/test": "e2e"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique, "labels": labels}})
    space = Space(kubectl, target, bucket=unique)
    space.s3.create_bucket(Bucket=unique)
    space.secret()
    kubectl.until(lambda: kubectl.get("serviceaccount", "default"), "the default ServiceAccount exists")
    return space


def remove_space(space: Space) -> None:
    """Delete the models while their Secret exists, and then the namespace with the rest."""
    space.kubectl("delete", "speechmodels", "--all", "--wait=true", "--timeout=180s", check=False)
    space.kubectl("delete", "namespace", space.kubectl.namespace, "--wait=false")


@cache
def build_images(layout: Layout) -> None:
    """Build the images of this working tree and push them, once in a process."""
    images.build_all(layout, ROOT)


def install(target: Target) -> Kubectl:
    """Build the images, install the operator with helm and return kubectl on its namespace."""
    if target.layout:
        build_images(target.layout)
    return upgrade(target)


def upgrade(target: Target, *values: str) -> Kubectl:
    """Install the chart, or upgrade it to other values beside those of every test, as `helm --set` takes them.

    Return kubectl on its namespace once the operator runs with these values, and the previous one has ended.
    """
    context = ("--kube-context", target.context) if target.context else ()
    of_tests = (f"images.registry={target.registry}", f"images.tag={target.tag}", f"progressSeconds={PROGRESS_SECONDS}")
    helm = Helm(target.helm, ("--kubeconfig", target.kubeconfig, *context, "--namespace", OPERATOR_NAMESPACE))
    helm("upgrade", "--install", "--create-namespace", NAME, str(CHART), "--set", ",".join((*of_tests, *values)))
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, OPERATOR_NAMESPACE)
    kubectl.until_rolled_out(NAME)
    return kubectl
