"""What a plan contains, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from archives import SETTINGS, make_archive
from clips import make_clip

from maskyolo.batch import plan_batch
from maskyolo.batch.plans import Item, read_plan
from maskyolo.errors import MaskyoloError, OutputError, SourceError
from maskyolo.runtime.run import Summary


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive")


def test_items_are_listed_in_the_order_of_detect_with_size_and_time(
    archive: Path, tmp_path: Path
) -> None:
    plan = plan_batch(archive, tmp_path / "out", shard=3, **SETTINGS)
    assert plan.sizes == (3, 3, 2)
    items = [item for shard in range(3) for item in plan.items(shard)]
    found = sorted(archive.iterdir())
    assert [item.name for item in items] == [str(path) for path in found]
    assert [item.kind for item in items] == [
        "video" if path.suffix == ".mp4" else "image" for path in found
    ]
    assert [(item.size, item.mtime) for item in items] == [
        (path.stat().st_size, path.stat().st_mtime_ns) for path in found
    ]


def test_a_long_video_is_alone_in_its_shard(archive: Path, tmp_path: Path) -> None:
    clip = make_clip(archive / "e.mp4", 40, (320, 240))
    assert clip.stat().st_size > 4 * 20_000
    assert plan_batch(archive, tmp_path / "out", shard=4, **SETTINGS).sizes == (4, 1, 3)


def test_what_the_machine_chooses_is_fixed(archive: Path, tmp_path: Path) -> None:
    import maskyolo

    summary = Summary()
    for _ in maskyolo.detect(archive / "a.jpg", summary=summary):
        pass
    plan = plan_batch(archive, tmp_path / "out")
    content = json.loads((plan.out / "plan.json").read_text())
    assert content["model"]["backend"] == summary.network
    assert content["settings"]["precision"] in ("bf16", "fp32", "int8")
    assert f" {content['settings']['precision']}," in summary.network
    assert content["settings"]["backend"] in ("openvino", "onnxruntime")
    assert content["settings"]["imgsz"] == 640
    assert str(plan.options.precision) == content["settings"]["precision"]


def test_settings_are_read_back(archive: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "conf": 0.4,
        "iou": 0.6,
        "max_det": 7,
        "vid_stride": 3,
        "slice_size": 320,
        "shard": 5,
        "class_map": {"with_mask": "without_mask", "without_mask": "with_mask"},
    }
    out = plan_batch(archive, tmp_path / "out", **SETTINGS, **settings).out
    found = read_plan(out).options
    assert {name: getattr(found, name) for name in settings} == settings
    assert not found.trust


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_any_name_is_kept(tmp_path: Path, samples: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff \\udcff.jpg"
    Path(os.fsdecode(name)).write_bytes((samples / "selfie.jpg").read_bytes())
    plan = plan_batch(os.fsdecode(name), tmp_path / "out", **SETTINGS)
    (item,) = plan.items(0)
    assert os.fsencode(item.name) == name
    assert item.source == f"{tmp_path}/\\udcff \\udcff.jpg"
    assert item.restore(f"cannot read {item.source}") == f"cannot read {os.fsdecode(name)}"


def test_a_missing_file_of_a_list_is_planned(tmp_path: Path, samples: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{samples / 'street.jpg'}\n{tmp_path / 'gone.jpg'}\n")
    first, second = plan_batch(listed, tmp_path / "out", **SETTINGS).items(0)
    assert first.size > 0
    assert second == Item(1, str(tmp_path / "gone.jpg"), "image")


@pytest.mark.parametrize("source", ["0", "-", "rtsp://cam/live", "frame_%04d.png"])
def test_what_is_no_file_is_refused(source: str, tmp_path: Path) -> None:
    (tmp_path / "frame_0001.png").write_bytes(b"")
    source = str(tmp_path / source) if "%" in source else source
    with pytest.raises(SourceError, match="is not an image or video file"):
        plan_batch(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused_and_an_empty_one_used(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    plan_batch(archive, out, **SETTINGS)
    before = (out / "plan.json").read_bytes()
    with pytest.raises(OutputError, match="process its plan: maskyolo batch run"):
        plan_batch(archive, out, **SETTINGS)
    with pytest.raises(OutputError, match="it already exists"):
        plan_batch(archive, archive, **SETTINGS)
    assert (out / "plan.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maskyolo": "0.0.9"}, "was made with maskyolo 0.0.9, and this is"),
        ({"format": 3}, "plan again in another folder"),
        ({"id": None, "sources": 3}, "cannot read"),
        ({"settings": {"conf": "high"}}, "plan.json: conf has a wrong value: 'high'"),
        ({"settings": []}, "cannot read"),
    ],
)
def test_a_plan_of_another_version_or_a_damaged_one_is_refused(
    change: dict[str, Any], message: str, archive: Path, tmp_path: Path
) -> None:
    file = plan_batch(archive, tmp_path / "out", **SETTINGS).out / "plan.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(MaskyoloError, match=message):
        read_plan(tmp_path / "out")


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskyoloError, match="make one: maskyolo batch plan SOURCE --out"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(MaskyoloError, match=r"cannot read .*plan\.json"):
        read_plan(tmp_path)


def test_a_list_of_items_that_is_cut_off_is_refused(archive: Path, tmp_path: Path) -> None:
    file = plan_batch(archive, tmp_path / "out", **SETTINGS).out / "items.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(MaskyoloError, match=r"cannot read .*items\.parquet"):
        read_plan(tmp_path / "out")
