"""A cluster that is up: pods, GPUs, images, S3, the audit log, and what it survives."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from kubecluster import audit, cluster, faults, group, images, s3
from kubecluster.errors import CommandFailed
from kubecluster.images import Image
from kubecluster.layout import CONTROL, CONTROLLERS, Layout
from kubecluster.shell import run, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it brings a cluster up"),
]
TEST_IMAGE = "docker.io/library/harness-test:dev"
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def up(own_network: Layout) -> Iterator[Layout]:
    with cluster.running(own_network):
        yield own_network


@pytest.fixture
def kubectl(up: Layout) -> Kubectl:
    return lambda *argv, **options: cluster.kubectl(up, *argv, **options)


@pytest.fixture
def image(up: Layout, tmp_path: Path) -> Iterator[Image]:
    """A small image whose /said changes with its one source file."""
    (tmp_path / "said").write_text("first\n")
    (tmp_path / "Dockerfile").write_text("FROM debian:trixie-slim\nCOPY said /said\n")
    yield Image(TEST_IMAGE, tmp_path / "Dockerfile", tmp_path)
    cluster.kubectl(up, "delete", "pods,jobs", "--all", "--now", "--wait=true")


def run_pod(kubectl: Kubectl, name: str, *command: str) -> str:
    """Run a pod of the test image to its end; returns its log."""
    kubectl("run", name, f"--image={TEST_IMAGE}", "--restart=Never", "--command", "--", *command)
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=600s")
    return kubectl("logs", name)


def client(access_key: str, secret_key: str) -> Any:
    config = Config(
        s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2
    )
    return boto3.client(
        "s3",
        endpoint_url=s3.ENDPOINT,
        region_name=s3.CREDENTIALS.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )


@pytest.fixture
def bucket(up: Layout) -> Any:
    found = client(s3.CREDENTIALS.access_key, s3.CREDENTIALS.secret_key)
    found.create_bucket(Bucket="harness")
    yield found
    for entry in found.list_objects_v2(Bucket="harness").get("Contents", []):
        found.delete_object(Bucket="harness", Key=entry["Key"])
    found.delete_bucket(Bucket="harness")


def test_bringing_a_running_cluster_up_again_leaves_it_as_it_is(up: Layout) -> None:
    before = group.inits(up)
    cluster.up(up)
    assert group.inits(up) == before


def test_a_job_that_asks_for_a_gpu_gets_one(up: Layout, kubectl: Kubectl, image: Image) -> None:
    images.build(up, image)
    container = {
        "name": "c",
        "image": TEST_IMAGE,
        "command": ["sh", "-c", "echo got $NVIDIA_VISIBLE_DEVICES on $(hostname)"],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    pod = {
        "restartPolicy": "Never",
        "runtimeClassName": "nvidia",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "containers": [container],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "gpu"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(job))
    kubectl("wait", "--for=condition=complete", "job/gpu", "--timeout=600s")
    assert "got fake-" in kubectl("logs", "job/gpu")


def test_a_changed_line_reaches_a_pod_and_an_unchanged_tree_is_not_built(
    up: Layout, kubectl: Kubectl, image: Image
) -> None:
    assert images.build(up, image).outcome in ("pushed", "unchanged")
    assert run_pod(kubectl, "first", "cat", "/said") == "first\n"
    assert images.build(up, image).outcome == "unchanged"
    (image.context / "said").write_text("second\n")
    assert images.build(up, image).outcome == "pushed"
    assert run_pod(kubectl, "second", "cat", "/said") == "second\n"


def test_nodes_forget_an_image_that_another_cluster_replaced_in_the_registry(
    up: Layout, kubectl: Kubectl, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image.context / "said").write_text("old\n")
    images.build(up, image)
    assert run_pod(kubectl, "old", "cat", "/said") == "old\n"
    (image.context / "said").write_text("new\n")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(images, "forget", lambda *_, **__: None)  # another cluster's build does not reach these nodes
        images.build(up, image)
    assert images.build(up, image).outcome == "unchanged"
    assert run_pod(kubectl, "new", "cat", "/said") == "new\n"


def test_an_image_that_the_registry_lost_is_pushed_again(up: Layout, image: Image) -> None:
    images.build(up, image)
    tag = up.registry / "docker/registry/v2/repositories/library/harness-test/_manifests/tags/dev/current/link"
    tag.unlink()
    assert images.build(up, image).outcome == "pushed"
    assert tag.exists()


def test_settings_of_this_machine_reach_run_steps_and_stay_out_of_the_image(
    up: Layout, kubectl: Kubectl, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://only-here.invalid/simple")
    image.dockerfile.write_text(
        "FROM debian:trixie-slim\nCOPY said /said\n"
        'RUN echo "$PIP_INDEX_URL $UV_DEFAULT_INDEX $SSL_CERT_FILE" | md5sum > /seen && test -s "$SSL_CERT_FILE"\n'
    )
    images.build(up, image)
    seen = run_pod(kubectl, "seen", "cat", "/seen").split()[0]
    address, certificates = "https://only-here.invalid/simple", "/dev/kubecluster/ca.crt"
    assert seen == run("md5sum", stdin=f"{address} {address} {certificates}\n").stdout.split()[0]
    search = "env; grep -rIl only-here.invalid /etc /root /run /dev /usr/local 2>/dev/null; ls -d /dev/kubecluster*"
    left = run_pod(kubectl, "left", "sh", "-c", f"{search} 2>/dev/null; true")
    assert "only-here" not in left
    assert "kubecluster" not in left.replace(TEST_IMAGE, "")
    config = (up.cache / "buildah/storage/overlay-images").rglob("*")
    assert not any(b"only-here.invalid" in path.read_bytes() for path in config if path.is_file())


def test_a_build_that_fails_quotes_its_step(up: Layout, image: Image) -> None:
    image.dockerfile.write_text("FROM debian:trixie-slim\nRUN echo what went wrong >&2; exit 7\n")
    with pytest.raises(CommandFailed, match="what went wrong"):
        images.build(up, image)


def test_s3_returns_the_object_that_was_put(bucket: Any) -> None:
    body = os.urandom(1_000_000)
    bucket.put_object(Bucket="harness", Key="a/b", Body=body, ChecksumAlgorithm="SHA256")
    assert bucket.get_object(Bucket="harness", Key="a/b")["Body"].read() == body


@pytest.mark.parametrize(
    ("access_key", "secret_key", "code"),
    [
        (s3.CREDENTIALS.access_key, "wrong", "SignatureDoesNotMatch"),
        ("nobody", s3.CREDENTIALS.secret_key, "InvalidAccessKeyId"),
    ],
)
def test_s3_refuses_wrong_keys_as_aws_does(bucket: Any, access_key: str, secret_key: str, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        client(access_key, secret_key).put_object(Bucket="harness", Key="x", Body=b"")
    assert refused.value.response["Error"]["Code"] == code


def test_s3_does_not_make_a_missing_bucket(bucket: Any) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        bucket.put_object(Bucket="no-such-bucket", Key="x", Body=b"")


def test_pods_reach_s3_by_name(up: Layout, kubectl: Kubectl, image: Image) -> None:
    images.build(up, image)
    ask = "exec 3<>/dev/tcp/s3.default/8333; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3"
    # a name server that is late is asked again
    assert "403 Forbidden" in run_pod(kubectl, "asks", "bash", "-c", f"until ({ask}); do sleep 1; done")


def test_s3_survives_a_kill_with_its_data(up: Layout, bucket: Any) -> None:
    bucket.put_object(Bucket="harness", Key="kept", Body=b"kept")
    faults.kill_service(up, CONTROLLERS, "weed")

    def kept() -> bool:
        try:
            return bool(bucket.get_object(Bucket="harness", Key="kept")["Body"].read() == b"kept")
        except (BotoCoreError, ClientError):
            return False

    wait_for("the object", kept, 600)


def test_writes_are_counted_by_who_made_them(up: Layout, kubectl: Kubectl) -> None:
    began = audit.now()
    kubectl("create", "configmap", "counted", "--from-literal=a=b")
    kubectl("annotate", "configmap", "counted", "x=y")
    kubectl("annotate", "configmap", "counted", "x=z", "--overwrite", "--dry-run=server")
    kubectl("get", "configmaps")
    kubectl("auth", "can-i", "delete", "configmaps")
    kubectl("delete", "configmap", "counted")

    def found() -> list[tuple[str, str]]:
        writes = audit.writes(up, began, user="kubernetes-admin", user_agent="kubectl")
        return [(write.verb, write.name) for write in writes]

    wait_for("the log", lambda: len(found()) >= 3, 600)
    assert found() == [("create", "counted"), ("patch", "counted"), ("delete", "counted")]
    assert audit.writes(up, began, user="system:serviceaccount:nobody") == []


@pytest.mark.parametrize(
    ("group", "service"),
    [(CONTROL, "etcd"), (CONTROL, "kube-apiserver"), (CONTROLLERS, "kube-controller-manager"), (CONTROLLERS, "kwok")],
)
def test_killed_services_come_back_and_the_cluster_works(
    up: Layout, kubectl: Kubectl, group: str, service: str
) -> None:
    kubectl("create", "namespace", f"before-{service}")
    faults.kill_service(up, group, service)
    wait_for("the API server", lambda: cluster.api_ready(up), 600)
    wait_for(
        "a ServiceAccount in a new namespace, which the controller-manager makes",
        lambda: "default" in cluster.kubectl(up, "get", "-n", f"before-{service}", "serviceaccounts", check=False),
        600,
    )
    wait_for("health", lambda: cluster.healthy(up), 600)


def test_a_frozen_api_server_answers_again_when_thawed(up: Layout, kubectl: Kubectl) -> None:
    faults.freeze_service(up, CONTROL, "kube-apiserver")
    try:
        assert not kubectl("get", "--raw", "/readyz", "--request-timeout=2s", check=False)
    finally:
        faults.thaw_service(up, CONTROL, "kube-apiserver")
    wait_for("the API server", lambda: cluster.api_ready(up), 600)


def test_a_lost_node_is_noticed_and_can_be_started_again(up: Layout, kubectl: Kubectl, image: Image) -> None:
    images.build(up, image)
    assert run_pod(kubectl, "before", "cat", "/said") == "first\n"
    faults.lose_node(up, "serving")
    assert not cluster.healthy(up)
    wait_for("the loss to be noticed", lambda: not cluster.nodes_ready(up)["serving"], 600)
    # the API server was away a moment ago, so this one may be late with its report too
    wait_for("the other node to be ready", lambda: cluster.nodes_ready(up)["gpu"], 600)
    faults.start_node(up, "serving")
    cluster.wait_ready(up)
    wait_for("the node to take pods", lambda: _takes_pods(kubectl, "serving"), 600)
    assert run_pod(kubectl, "after", "cat", "/said") == "first\n"


def _takes_pods(kubectl: Kubectl, node: str) -> bool:
    taints = json.loads(kubectl("get", "node", node, "-o", "json"))["spec"].get("taints", [])
    return not taints
