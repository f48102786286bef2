"""Tar files, Parquet files and object storage give the same detections as files."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import SETTINGS, detect_lines, make_archive
from PIL import Image

from maskyolo.batch import join_batch, plan_batch, run_batch
from maskyolo.errors import SourceError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with an animation among its files."""
    folder = make_archive(tmp_path / "archive")
    frames = [Image.open(folder / f"{name}.jpg").resize((96, 64)) for name in "abd"]
    frames[0].save(folder / "i.gif", save_all=True, append_images=frames[1:], duration=40)
    return folder


def process(source: Any, out: Path, shard: int = 4) -> list[dict[str, Any]]:
    """Return the joined lines of a source."""
    plan_batch(source, out, shard=shard, **SETTINGS)
    run_batch(out, on_error=lambda *_: None)
    join_batch(out, out / "lines.jsonl")
    return [json.loads(line) for line in (out / "lines.jsonl").read_bytes().splitlines()]


def expected(archive: Path, prefix: str, out: Path) -> list[dict[str, Any]]:
    """Return the lines of `detect`, with another name of the archive."""
    lines = detect_lines(archive, out).replace(f"{archive}/".encode(), prefix.encode())
    return [json.loads(line) for line in lines.splitlines()]


def make_tar(path: Path, archive: Path) -> Path:
    """A WebDataset shard: each image with its metadata."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(archive.iterdir()):
            tar.add(file, file.name)
            for name, content in ((f"{file.stem}.json", b"{}"), (f".{file.name}", b"hidden")):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def test_members_of_a_tar_file(archive: Path, tmp_path: Path) -> None:
    place = make_tar(tmp_path / "photos.tar", archive)
    found = process(place, tmp_path / "out")
    assert found == expected(archive, f"{place}/", tmp_path / "detect.jsonl")
    assert [line["frame"] for line in found if line["source"].endswith("i.gif")] == [0, 1, 2]


def test_a_damaged_tar_file_is_an_error_after_its_intact_members(
    archive: Path, tmp_path: Path
) -> None:
    place = make_tar(tmp_path / "photos.tar", archive)
    content = place.read_bytes()
    place.write_bytes(content[: len(content) // 2])
    whole = make_tar(tmp_path / "z.tar", archive)
    found = process(str(tmp_path / "*.tar"), tmp_path / "out")
    wanted = expected(archive, f"{place}/", tmp_path / "detect.jsonl")
    lines = [line for line in found if line["source"].startswith(str(place))]
    intact = [line for line in lines if "error" not in line]
    assert intact
    assert intact == [line for line in wanted if "error" not in line][: len(intact)]
    assert any(str(place) in line.get("error", "") for line in lines[-2:])
    assert [line for line in found if line["source"].startswith(str(whole))] == [
        {**line, "source": line["source"].replace(str(place), str(whole))}
        | ({"error": line["error"].replace(str(place), str(whole))} if "error" in line else {})
        for line in wanted
    ]


def test_a_tar_file_that_has_changed_is_an_error(archive: Path, tmp_path: Path) -> None:
    place = make_tar(tmp_path / "photos.tar", archive)
    plan_batch(place, tmp_path / "out", **SETTINGS)
    os.utime(place, ns=(0, 12345))
    errors: list[str] = []
    run_batch(tmp_path / "out", on_error=lambda _, error: errors.append(error))
    assert len(errors) == 9
    assert errors[0] == (
        f"{place} has changed since it was planned: it was written again; plan again in another "
        "folder"
    )


@pytest.mark.parametrize("is_struct", [False, True])
def test_rows_of_a_parquet_file(is_struct: bool, archive: Path, tmp_path: Path) -> None:
    (archive / "e.mp4").unlink()
    files = sorted(archive.iterdir())
    contents: list[Any] = [file.read_bytes() for file in files]
    if is_struct:
        contents = [
            {"bytes": content, "path": file.name}
            for content, file in zip(contents, files, strict=True)
        ]
    place = tmp_path / "photos.parquet"
    table = pa.table({"label": [1] * len(files), "image": contents})
    pq.write_table(table, place, row_group_size=3)
    found = process(place, tmp_path / "out", 4)
    wanted = expected(archive, "", tmp_path / "detect.jsonl")
    assert len(found) == len(wanted)
    for line, other in zip(found, wanted, strict=True):
        row = [file.name for file in files].index(other["source"])
        text = json.dumps(other).replace(files[row].name, f"{place}/{row}")
        assert line == json.loads(text)


def test_a_row_without_bytes_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": pa.array([None, b"", b"damaged"], pa.binary())}), place)
    found = process(place, tmp_path / "out")
    assert [line["error"].partition(":")[2] for line in found] == [
        " the row has no bytes; check the file",
        " the file is empty; remove it or copy it again",
        " not an image in a known format; remove it or convert it to JPEG or PNG",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar.gz", b"", "it is compressed, so that its members cannot be read one by one"),
        ("a.tar", b"no tar file" * 100, "cannot read all of"),
        ("a.parquet", b"no Parquet file", "cannot read"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_its_turn(
    name: str, content: bytes, message: str, tmp_path: Path, samples: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    found = process([str(tmp_path / name), str(samples / "selfie.jpg")], tmp_path / "out")
    assert message in found[0]["error"]
    assert str(tmp_path / name) in found[0]["error"]
    assert found[1]["detections"]


def test_a_parquet_file_without_images_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1], "split": ["train"]}), tmp_path / "a.parquet")
    (line,) = process(tmp_path / "a.parquet", tmp_path / "out")
    assert "none of its columns (label, split) has bytes" in line["error"]


def test_an_empty_tar_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    with pytest.raises(SourceError, match="no image or video in"):
        plan_batch(tmp_path / "a.tar", tmp_path / "out")
    with pytest.raises(SourceError, match="no such file"):
        plan_batch(tmp_path / "b.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server on the loopback address, and a client for it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.start()
        try:
            host, port = server.get_host_and_port()
            client = boto3.client(
                "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1"
            )
            client.create_bucket(Bucket="archive")
            yield client
        finally:
            server.stop()


def address(s3: Any, path: str) -> str:
    host = s3.meta.endpoint_url.removeprefix("http://")
    return f"s3://{path}?scheme=http&endpoint_override={host}&region=us-east-1"


@pytest.fixture
def prefix(s3: Any, archive: Path, tmp_path: Path) -> str:
    """The archive as objects, whose names have characters with a meaning in addresses."""
    key = f"{tmp_path.name}/photos of Ann #1?"
    for file in sorted(archive.iterdir()):
        s3.upload_file(str(file), "archive", f"{key}/{file.name}")
    s3.put_object(Bucket="archive", Key=f"{key}/notes.txt", Body=b"no image")
    return f"archive/{tmp_path.name}"


def test_objects_below_a_prefix(s3: Any, prefix: str, archive: Path, tmp_path: Path) -> None:
    found = process(address(s3, prefix), tmp_path / "out")
    name = f"s3://{prefix}/photos of Ann #1?/"
    assert found == expected(archive, name, tmp_path / "detect.jsonl")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["sources"][0].startswith(f"s3://{prefix}?")


def test_a_tar_file_in_object_storage(s3: Any, archive: Path, tmp_path: Path) -> None:
    place = make_tar(tmp_path / "photos.tar", archive)
    s3.upload_file(str(place), "archive", f"{tmp_path.name}/photos.tar")
    found = process(address(s3, f"archive/{tmp_path.name}/photos.tar"), tmp_path / "out")
    name = f"s3://archive/{tmp_path.name}/photos.tar/"
    assert found == expected(archive, name, tmp_path / "detect.jsonl")


def test_objects_that_have_changed_or_gone_are_errors(s3: Any, prefix: str, tmp_path: Path) -> None:
    plan = plan_batch(address(s3, prefix), tmp_path / "out", **SETTINGS)
    names = [item.name for item in plan.items(0)]
    s3.put_object(Bucket="archive", Key=names[0].removeprefix("s3://archive/"), Body=b"other")
    s3.delete_object(Bucket="archive", Key=names[1].removeprefix("s3://archive/"))
    errors: list[tuple[str, str]] = []
    run_batch(plan.out, on_error=lambda *error: errors.append(error))
    assert [name for name, _ in errors] == names[:3]
    assert f"{names[0]} has changed since it was planned" in errors[0][1]
    assert errors[1][1] == f"cannot read {names[1]}: no such file or object; check it"


def test_wrong_addresses_are_refused_in_one_line(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or object"):
        plan_batch(address(s3, "archive/nothing here"), tmp_path / "out")
    with pytest.raises(SourceError, match="contains a login") as caught:
        plan_batch("s3://key:secret@archive/photos", tmp_path / "out")
    assert "secret@" not in str(caught.value)
    with pytest.raises(SourceError, match="cannot read s3://archive/a"):
        plan_batch("s3://archive/a?nonsense=1", tmp_path / "out")
    assert not (tmp_path / "out").exists()
