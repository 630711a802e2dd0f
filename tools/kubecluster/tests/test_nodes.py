"""How nodes and process groups are specified."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kubecluster import faults, group, node
from kubecluster.errors import ClusterError
from kubecluster.group import Group
from kubecluster.layout import NODES, Layout


def test_nodes_do_not_share_addresses() -> None:
    for field in ("ip", "pod_cidr", "link"):
        assert len({getattr(n, field) for n in NODES}) == len(NODES)


def test_a_gpu_node_runs_a_device_plugin_and_its_taint_reaches_the_kubelet(layout: Layout) -> None:
    gpu = faults.find_node("gpu")
    services = [service.name for service in node.spec(layout, gpu).services]
    assert services == ["containerd", "dbus-daemon", "logind", "kubelet", "kube-proxy", "device-plugin"]
    config = json.loads((layout.node(gpu) / "kubelet.json").read_text())
    assert config["registerWithTaints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]


def test_an_unknown_node_is_an_error_that_names_the_others() -> None:
    with pytest.raises(ClusterError, match="no node moon, only serving, gpu"):
        faults.find_node("moon")


def test_a_group_is_read_as_it_was_written(layout: Layout, tmp_path: Path) -> None:
    written = node.spec(layout, NODES[0])
    written.save(tmp_path / "group.json", layout.logs)
    assert Group.load(tmp_path / "group.json") == (written, layout.logs)


def test_nothing_runs_for_an_unused_state_directory(layout: Layout) -> None:
    assert group.inits(layout) == {}


def test_the_command_line_shows_its_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "kubecluster", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for command in ("up", "down", "images", "packages", "run", "env", "fault", "node", "writes"):
        assert command in done.stdout
