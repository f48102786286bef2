"""Lists the items of an archive: files, members of tar files, rows of Parquet files, objects."""

from __future__ import annotations

import glob
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from maskyolo.batch.arrow import load_arrow
from maskyolo.batch.plans import Item
from maskyolo.batch.stores import (
    content_column,
    filesystem,
    open_place,
    stat_place,
    store_errors,
)
from maskyolo.errors import MaskyoloError, SourceError
from maskyolo.runtime.addresses import display_name
from maskyolo.runtime.file_sources import (
    AnimationSource,
    ImageSource,
    UnreadableSource,
    VideoSource,
)
from maskyolo.runtime.frames import Source
from maskyolo.runtime.media_names import MEDIA_SUFFIXES, VIDEO_SUFFIXES
from maskyolo.runtime.sources import open_sources

__all__ = ["list_items"]

_KINDS = {ImageSource: "image", AnimationSource: "animation", VideoSource: "video"}
#: Schemes of object storage that PyArrow reads.
_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
_TAR, _PARQUET = ".tar", ".parquet"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
#: Bytes of a tar file that are read at once to find its members.
_BUFFER = 64 << 10


def list_items(source: str | Path | Sequence[str | Path]) -> Iterator[Item]:
    """Yield the items of one or several sources, in order, without numbers.

    Raises:
        SourceError: there is nothing to read, a source is no file, or it cannot be reached.
    """
    given = [source] if isinstance(source, (str, Path)) else list(source)
    if not any(map(_is_special, given)):  # as `detect` does
        yield from _from_sources(open_sources(source))
        return
    for one in given:
        found = False
        for item in _special(str(one)) if _is_special(one) else _from_sources(open_sources(one)):
            found = True
            yield item
        if not found:
            raise SourceError(f"no image or video in {display_name(one)}", "check it")


def _is_special(source: str | Path) -> bool:
    text = str(source)
    return _is_remote(text) or text.lower().endswith((_TAR, _PARQUET, *_COMPRESSED))


def _is_remote(text: str) -> bool:
    return text.partition("://")[0].lower() in _SCHEMES and "://" in text


def _special(source: str) -> Iterator[Item]:
    if _is_remote(source):
        yield from _objects(source)
        return
    matches = [source] if Path(source).exists() else sorted(glob.glob(source, recursive=True))  # noqa: PTH207  as in `open_sources`
    if not matches:
        raise SourceError(f"no source '{source}': no such file", "check the path")
    for place in matches:
        yield from _file("", place, place)


def _objects(source: str) -> Iterator[Item]:
    """Yield the images, videos, tar and Parquet files at an address, at any depth."""
    from pyarrow import fs

    parts = urlsplit(source)
    if ":" in parts.netloc.partition("@")[0] and "@" in parts.netloc:
        raise SourceError(
            f"{display_name(source)} contains a login, which would be stored in the plan",
            "put it into the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    store = f"{parts.scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else "")
    try:
        system = filesystem(store)
        root = fs.FileSystem.from_uri(store)[1].rstrip("/")
    except (ValueError, NotImplementedError) as error:
        raise SourceError(f"cannot read {shown}: {error}", "check the address") from error
    path = root + parts.path.rstrip("/")
    with store_errors(shown):
        info = system.get_file_info(path)
        if info.type == fs.FileType.File:
            infos = [info]
        elif info.type == fs.FileType.Directory:
            infos = system.get_file_info(fs.FileSelector(path, recursive=True))
        else:
            raise FileNotFoundError(path)
    for info in sorted(infos, key=lambda info: info.path):
        name = f"{parts.scheme}://{info.path}"
        suffix = Path(info.path).suffix.lower()
        if info.type != fs.FileType.File or Path(info.path).name.startswith("."):
            continue
        if suffix in (_TAR, _PARQUET):
            yield from _file(store, info.path, name)
        elif suffix in MEDIA_SUFFIXES:
            yield Item(
                0, name, _kind(info.path), info.size, int(info.mtime_ns or -1),
                store=store, place=info.path,
            )  # fmt: skip


def _file(store: str, place: str, name: str) -> Iterator[Item]:
    """Yield the items in a tar or Parquet file; a damaged one is reported in its turn."""
    try:
        if name.lower().endswith(_COMPRESSED):
            raise SourceError(
                f"cannot read {name}: it is compressed, so that its members cannot be read one by "
                "one",
                "decompress it to a .tar file; images gain nothing from a second compression",
            )
        with store_errors(name):
            size, mtime = stat_place(store, place)
            members = _members if place.lower().endswith(_TAR) else _rows
            for member, kind, offset, length in members(store, place, name):
                yield Item(
                    0, f"{name}/{member}", kind, size, mtime,
                    store=store, place=place, offset=offset, length=length,
                )  # fmt: skip
    except MaskyoloError as error:
        yield Item(0, name, "unreadable", problem=error.problem, remedy=error.remedy)


def _members(store: str, place: str, name: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield name, kind, offset and size of the images and videos in a tar file."""
    try:
        with (
            open_place(store, place) as opened,
            io.BufferedReader(opened, _BUFFER) as file,  # type: ignore[type-var]
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            while member := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # or they would fill the memory
                hidden = Path(member.name).name.startswith(".")
                suffix = Path(member.name).suffix.lower()
                regular = member.isreg() and not member.issparse()
                if regular and not hidden and suffix in MEDIA_SUFFIXES:
                    yield member.name, _kind(member.name), member.offset_data, member.size
    except tarfile.TarError as error:
        raise SourceError(f"cannot read all of {name}: {error}", "copy it again") from error


def _rows(store: str, place: str, name: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield name, kind, row group and row in it of the rows of a Parquet file."""
    arrow = load_arrow()
    with open_place(store, place) as opened, arrow.parquet.ParquetFile(opened) as file:
        if content_column(file.schema_arrow) is None:
            columns = ", ".join(file.schema_arrow.names[:20])
            raise SourceError(
                f"cannot read {name}: none of its columns ({columns}) has bytes",
                "use a Parquet file with the bytes of an image in each row",
            )
        row = 0
        for group in range(file.metadata.num_row_groups):
            for place_in_group in range(file.metadata.row_group(group).num_rows):
                yield str(row), "image", group, place_in_group
                row += 1


def _kind(name: str) -> str:
    return "video" if Path(name).suffix.lower() in VIDEO_SUFFIXES else "image"


def _from_sources(sources: Iterable[Source]) -> Iterator[Item]:
    """Yield the items of local files.

    Raises:
        SourceError: a source is no file.
    """
    sources = list(sources)
    for one in sources:
        if not isinstance(one, (*_KINDS, UnreadableSource)):
            raise SourceError(
                f"cannot plan {one.name}: it is not an image or video file",
                "use `maskyolo detect` for cameras, streams, pipes and numbered images",
            )
    yield from map(_local, sources)


def _local(source: Source) -> Item:
    if isinstance(source, UnreadableSource):
        error = source.error
        return Item(0, source.name, "unreadable", problem=error.problem, remedy=error.remedy)
    kind = next(kind for type_, kind in _KINDS.items() if isinstance(source, type_))
    try:
        found = Path(source.name).stat()
    except OSError:  # reported when it is processed
        return Item(0, source.name, kind)
    return Item(0, source.name, kind, found.st_size, found.st_mtime_ns)
