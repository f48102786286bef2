"""Ray gives the same lines as `detect`, also when a node dies, and listens on loopback only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from archives import SETTINGS, detect_lines, make_archive

from maskyolo.batch import join_batch, plan_batch, run_batch
from maskyolo.errors import DependencyError, MaskyoloError, WeightsError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive")


@pytest.fixture(scope="module", autouse=True)
def on_loopback() -> Iterator[None]:
    """Ray reads this when it is first imported, here for the cluster of the last test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


def joined(out: Path) -> bytes:
    join_batch(out, out / "joined.jsonl")
    return (out / "joined.jsonl").read_bytes()


def listening() -> list[str]:
    """Return the addresses on which Ray's processes listen."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "ray" in " ".join(child.cmdline()):
                found += [
                    connection.laddr.ip
                    for connection in child.net_connections("inet")
                    if connection.status == psutil.CONN_LISTEN
                ]
        except psutil.Error:  # it has just ended
            continue
    return found


def test_two_local_workers(archive: Path, tmp_path: Path) -> None:
    expected = detect_lines(archive, tmp_path / "detect.jsonl")
    out = plan_batch(archive, tmp_path / "out", shard=2, **SETTINGS).out
    before = dict(os.environ)
    addresses: list[str] = []
    errors: list[str] = []
    progress: list[int] = []

    def on_progress(done: int, total: int | None) -> None:
        progress.append(done)
        addresses.extend(listening())

    status = run_batch(
        out,
        engine="ray",
        workers=2,
        on_progress=on_progress,
        on_error=lambda name, _: errors.append(name),
    )
    assert status.complete
    assert joined(out) == expected
    assert progress == sorted(set(progress))
    assert progress[-1] == 8
    assert errors == [str(archive / "c.jpg")]
    assert addresses
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert dict(os.environ) == before


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield made
    finally:
        made.shutdown()


def test_a_node_of_a_cluster_dies(cluster: Any, archive: Path, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    expected = detect_lines(archive, tmp_path / "detect.jsonl")
    out = plan_batch(archive, tmp_path / "out", shard=1, **SETTINGS).out
    model = plan_batch(archive, tmp_path / "other", model="maskyolo-n-folders", **SETTINGS)
    nodes = [node]

    def on_progress(done: int, total: int | None) -> None:
        if nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    status = run_batch(
        out,
        engine="ray",
        address=cluster.address,
        on_progress=on_progress,
        on_error=lambda *_: None,
    )
    assert not nodes
    assert status.complete
    assert joined(out) == expected

    text = (model.out / "plan.json").read_text()
    sha256 = str(model.model["sha256"])
    (model.out / "plan.json").write_text(text.replace(sha256, "0" * 64))
    with pytest.raises(WeightsError, match="is not the model of the plan"):
        run_batch(model.out, engine="ray", address=cluster.address)


def test_options_of_ray_need_ray(tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="--address needs --engine ray"):
        run_batch(tmp_path, address="auto")
    with pytest.raises(MaskyoloError, match="--workers has no effect on a cluster"):
        run_batch(tmp_path, engine="ray", address="auto", workers=2)
    with pytest.raises(MaskyoloError, match="unknown engine 'spark'"):
        run_batch(tmp_path, engine="spark")


def test_ray_is_optional(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = plan_batch(archive, tmp_path / "out", **SETTINGS).out
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"--engine ray needs Ray.*run: pip install"):
        run_batch(out, engine="ray")
