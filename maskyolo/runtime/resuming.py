"""Continues a run over many files that was interrupted, from the JSON lines that it has written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskyolo.core.files import part_of, write_atomic
from maskyolo.core.parsing import read_limited
from maskyolo.core.text import counted
from maskyolo.errors import MaskyoloError, output_errors
from maskyolo.runtime.file_sources import (
    AnimationSource,
    ImageSource,
    UnreadableSource,
    VideoSource,
)
from maskyolo.runtime.frames import Source
from maskyolo.runtime.options import DetectOptions

__all__ = ["Progress", "check_resumable", "find_progress", "settings_of"]

#: Maximum bytes of a line; a frame with 10,000 faces has 1.5 MB.
MAX_LINE = 64 << 20
#: Options that change what is in the lines.
_DECISIVE = (
    "conf", "iou", "imgsz", "max_det", "slice_size", "pipeline", "detector", "face", "face_conf",
    "class_map", "incorrect", "precision", "backend", "vid_stride", "start",
)  # fmt: skip


@dataclass
class Progress:
    """What an interrupted run has written.

    Attributes:
        file: the file of lines that it was to write.
        remaining: the sources that are not finished, in order.
        done: number of finished sources.
        kept: bytes of the temporary file that hold the lines of finished sources.
    """

    file: Path
    remaining: list[Source] = field(default_factory=list)
    done: int = 0
    kept: int = 0

    def check(self, settings: Mapping[str, Any]) -> int:
        """Check that the earlier lines were made with the same settings and model.

        Returns:
            The number of finished sources.

        Args:
            settings: those of this run; see `settings_of`.

        Raises:
            MaskyoloError: they were not, or it is unknown.
        """
        if not self.kept:
            return self.done
        place = settings_file(self.file)
        try:
            before = json.loads(read_limited(place, MAX_LINE))
        except (OSError, ValueError) as error:
            raise MaskyoloError(
                f"cannot resume {self.file}: {place} cannot be read, so it is unknown how the "
                "lines were made",
                _START_AGAIN,
            ) from error
        new = json.loads(json.dumps(settings))
        before = before if isinstance(before, dict) else {}
        changed = [name for name in new if before.get(name) != new[name]]
        if changed:
            name = changed[0]
            raise MaskyoloError(
                f"cannot resume {self.file}: its lines were made with {name} {before.get(name)}, "
                f"and this run has {new[name]}",
                f"use the same settings, or {_START_AGAIN}",
            )
        return self.done


_START_AGAIN = "start again without --resume"


def settings_file(file: Path) -> Path:
    """Return the file that holds the settings while `file` is being written."""
    part = part_of(file)
    return part.with_name(f"{part.name}.json")


def save_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Store the settings that the lines of `file` are made with, until it is complete.

    Raises:
        OutputError: no space left, or no permission.
    """
    place = settings_file(file)
    with output_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, json.dumps(settings, ensure_ascii=False) + "\n")


def settings_of(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides about the content of lines, from what `args.yaml` records of a run."""
    made = recorded["provenance"]
    model = {key: value for key, value in made.get("model", {}).items() if key != "file"}
    return {
        **{name: recorded[name] for name in _DECISIVE},
        **{f"model {key}": value for key, value in model.items()},
        "maskyolo": made["maskyolo"],
    }


def check_resumable(options: DetectOptions, sources: Sequence[Source]) -> None:
    """Check that a run with these options can be resumed.

    Raises:
        MaskyoloError: there is no file of lines to continue, an output needs all frames, or a
            source is not a file.
    """
    if options.save_json is None:
        raise MaskyoloError(
            "--resume continues the file of --save-json, and none is given",
            "add --save-json FILE, or omit --resume",
        )
    if options.tracks or options.stats_only:
        raise MaskyoloError(
            "--resume cannot continue tracks, events and counts, which need all frames",
            "omit --resume, or the options that track or count",
        )
    for source in sources:
        if not isinstance(source, (ImageSource, VideoSource, AnimationSource, UnreadableSource)):
            raise MaskyoloError(
                f"--resume is for image and video files, and {source.name} is none",
                "omit --resume",
            )


def find_progress(file: Path, sources: Sequence[Source]) -> Progress:
    """Return what an interrupted run has written about these sources.

    Sources without lines between finished ones, such as new photos in the folder, count as
    remaining. The last video is started again, because it may be incomplete.

    Args:
        file: the file of lines that the run was to write.
        sources: the sources of this run, in order.

    Raises:
        MaskyoloError: a line is damaged or about none of the sources, or the file is complete, but
            there are further sources.
    """
    part = part_of(file)
    if not part.is_file():
        if not file.is_file():
            return Progress(file, list(sources))
        progress = _read(file, file, sources)
        if progress.remaining:
            raise MaskyoloError(
                f"{file} is complete, and there are {counted(len(progress.remaining), 'source')} "
                f"that it has no lines about, such as {progress.remaining[0].name}",
                "choose another file for them, or start again without --resume",
            )
        return progress
    return _read(part, file, sources)


def _read(part: Path, file: Path, sources: Sequence[Source]) -> Progress:
    """Match the lines in `part` to the sources, one group of lines per source."""
    places: list[int] = []  # of the sources that have lines
    offset = begin = 0  # of the current line, and of the first line of the last source
    last: tuple[str, int] | None = None
    with output_errors(part), part.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE):
            if not line.endswith(b"\n"):
                break  # interrupted while it was written
            number += 1
            name, frame = _parse(line, part, number)
            if last is None or name != last[0] or frame <= last[1]:
                places.append(_place_of(name, sources, places[-1] + 1 if places else 0))
                if places[-1] < 0:
                    raise MaskyoloError(
                        f"cannot resume {file}: line {number} is about {name[:200]}, which is not "
                        "among the sources, or in another order",
                        f"give the same --source, or {_START_AGAIN}",
                    )
                begin = offset
            last = name, frame
            offset += len(line)
    if (
        places
        and part != file
        and not isinstance(sources[places[-1]], (ImageSource, UnreadableSource))
    ):
        places.pop()
        offset = begin
    done = set(places)
    remaining = [source for place, source in enumerate(sources) if place not in done]
    return Progress(file, remaining, len(done), offset)


def _parse(line: bytes, part: Path, number: int) -> tuple[str, int]:
    """Return the source and the frame's index of a line."""
    try:
        record = json.loads(line)
        name, frame = record["source"], record["frame"]
        if isinstance(name, str) and type(frame) is int and {"detections", "error"} & set(record):
            return name, frame
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise MaskyoloError(
        f"cannot resume {part}: line {number} is not a line of JSON as --save-json writes it",
        _START_AGAIN,
    )


def _place_of(name: str, sources: Sequence[Source], first: int) -> int:
    """Return the index of the source of that name from `first` on, or -1."""
    return next((n for n in range(first, len(sources)) if sources[n].name == name), -1)
