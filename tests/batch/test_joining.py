"""Only complete and intact parts of the same plan are joined."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from archives import SETTINGS, detect_lines, make_archive

from maskyolo.batch import join_batch, plan_batch, run_batch
from maskyolo.errors import MaskyoloError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("batch")
    out = plan_batch(make_archive(place / "archive"), place / "out", shard=3, **SETTINGS).out
    run_batch(out, on_error=lambda *_: None)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


def test_the_manifest_says_how_the_parts_were_made(out: Path) -> None:
    (out / "manifest.json").unlink()
    (out / "parts" / ".000001-12-ab.part").write_bytes(b"left by a killed process")
    result = join_batch(out)
    manifest = json.loads(result.manifest.read_text())
    assert (manifest["items"], manifest["rows"], manifest["errors"]) == (8, 13, 1)
    assert [(part["file"], part["items"], part["errors"]) for part in manifest["parts"]] == [
        ("parts/000000.parquet", 3, 1),
        ("parts/000001.parquet", 3, 0),
        ("parts/000002.parquet", 2, 0),
    ]
    for part in manifest["parts"]:
        assert part["sha256"] == hashlib.sha256((out / part["file"]).read_bytes()).hexdigest()
    model = Path(manifest["model"]["file"])
    assert manifest["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert manifest["settings"]["precision"] in ("bf16", "fp32", "int8")
    assert manifest["settings"]["imgsz"] == 160
    assert {"maskyolo", "python", "packages", "cpu"} <= set(manifest["machines"][0])
    assert not list((out / "parts").glob(".*"))


def test_a_missing_shard_is_not_joined(out: Path, tmp_path: Path) -> None:
    (out / "parts" / "000001.parquet").unlink()
    with pytest.raises(MaskyoloError, match=r"1 shard of 3 of the plan in .* is not finished"):
        join_batch(out, tmp_path / "lines.jsonl")
    assert not (tmp_path / "lines.jsonl").exists()


@pytest.mark.parametrize("damage", ["cut off", "of another shard", "of another plan", "foreign"])
def test_a_wrong_part_is_not_joined(damage: str, out: Path, tmp_path: Path) -> None:
    part = out / "parts" / "000002.parquet"
    if damage == "cut off":
        part.write_bytes(part.read_bytes()[:-9])
    elif damage == "of another shard":
        shutil.copyfile(out / "parts" / "000001.parquet", part)
    elif damage == "foreign":
        shutil.copyfile(out / "items.parquet", part)
    else:
        plan = json.loads((out / "plan.json").read_text()) | {"id": "another"}
        (out / "plan.json").write_text(json.dumps(plan))
    name = "000000" if damage == "of another plan" else "000002"
    with pytest.raises(MaskyoloError, match=rf"{name}\.parquet.*remove it, and run"):
        join_batch(out, tmp_path / "lines.jsonl")
    assert not list(tmp_path.glob("lines*"))


def test_a_part_with_a_damaged_page_is_not_joined(out: Path, tmp_path: Path) -> None:
    part = out / "parts" / "000001.parquet"
    content = bytearray(part.read_bytes())
    content[4:400] = bytes(396)
    part.write_bytes(content)
    with pytest.raises(MaskyoloError, match=r"cannot read .*000001\.parquet"):
        join_batch(out, tmp_path / "lines.jsonl")
    assert not list(tmp_path.glob("lines*"))


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf_8_are_written_as_by_detect(tmp_path: Path, samples: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for name, content in (
        (b"\xff.jpg", (samples / "selfie.jpg").read_bytes()),
        (b"\xfe\n.jpg", b"damaged"),
        ("😷 \\udcff.jpg".encode(), b""),
    ):
        Path(os.fsdecode(os.fsencode(archive) + b"/" + name)).write_bytes(content)
    expected = detect_lines(archive, tmp_path / "detect.jsonl")
    out = plan_batch(archive, tmp_path / "out", **SETTINGS).out
    run_batch(out, on_error=lambda *_: None)
    join_batch(out, tmp_path / "batch.jsonl")
    assert expected.count(b"error") == 2
    assert (tmp_path / "batch.jsonl").read_bytes() == expected
