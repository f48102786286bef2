"""The options of `maskyolo convert`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Bystanders, CrossCheck, FaceDetectorName, SourceFormat
from maskyolo.core.classes import SPLITS
from maskyolo.core.options import Options, option
from maskyolo.errors import DatasetError

__all__ = ["KEEP", "ConvertOptions"]

#: In place of shares: the splits that annotated sets come with.
KEEP = "keep"


def _parse_splits(text: str) -> tuple[float, ...] | str:
    if text == KEEP:
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"'{text}' is not a list of numbers such as 0.8,0.1,0.1, or keep"
        ) from None


def _parse_class_map(texts: Sequence[str]) -> dict[str, str]:
    class_map = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"'{text}' is not NAME=CLASS")
        class_map[name] = value
    return class_map


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options):
    """Which photos `convert_dataset` takes, how it labels them, and how it splits them.

    Raises:
        MaskyoloError: a value is out of its range, or not one of a fixed set of choices.
        DatasetError: the splits are not shares of a whole.
    """

    format: SourceFormat = option(
        SourceFormat.AUTO, help="Format of the sources. auto: found out for each."
    )
    image_list: Path | str | None = option(
        None,
        help="File with the names of the photos to use, one per line. Default: all.",
        flags=("--list",),
        cli_type=Path | None,
    )
    class_map: Mapping[str, str] | None = option(
        None,
        help="NAME=CLASS: what a folder or class stands for: with_mask, without_mask, drop, ignore "
        "or keep. Can be repeated.",
        flags=("--map",),
        cli_type=list[str] | None,
        cli_parse=_parse_class_map,
    )
    detector: FaceDetectorName = option(
        FaceDetectorName.SSD,
        help="Face detector: ssd (several passes, for reliable boxes), ssd-plain (one pass), yunet "
        "or haar.",
    )
    weights: Path | str | None = option(
        None,
        help="Weights of the face detector, or the folder that contains them.",
        cli_type=Path | None,
    )
    conf: float = option(
        0.5,
        help="Minimum score of a face. If a photo has none, ssd's best face from 0.12 counts, if "
        "two passes or both detectors see it.",
        minimum=0,
        maximum=1,
    )
    bystanders: Bystanders = option(
        Bystanders.DETECTOR,
        help="How to label bystanders: detector (maskyolo-n-folders decides; blanked out if "
        "unsure), blank (all blanked out), set-aside (photos with bystanders are left out), folder "
        "(the folder's class).",
    )
    cross_check: CrossCheck = option(
        CrossCheck.BOTH,
        help="Models that check and complete the faces of ssd: yunet, both (YuNet, and "
        "maskyolo-n-folders for more precise boxes and missed faces) or none. No effect on other "
        "detectors.",
    )
    splits: Sequence[float] | str = option(
        (0.8, 0.1, 0.1),
        help="Shares of train, val and test, or keep: the splits of annotated sets.",
        cli_type=str,
        cli_default="0.8,0.1,0.1",
        cli_parse=_parse_splits,
    )
    seed: int = option(0, help="Seed of all random choices.", minimum=0)
    exclude: Sequence[Path | str] | None = option(
        None,
        help="Folder of images, such as a benchmark, whose near-copies are left out. Can be "
        "repeated.",
        cli_type=list[Path] | None,
    )
    scenes: int = option(
        0,
        help="Number of training scenes to compose from many of the photos' faces, for streets and "
        "crowds.",
        minimum=0,
    )
    update: bool = option(
        False, help="Update the data set in --out; corrections made by hand are kept."
    )
    sheets: bool = option(True, help="Draw contact sheets of the photos of each status.")
    workers: int | None = option(
        None,
        help="Number of photos to process in parallel. Default: the number of cores plus one.",
        minimum=1,
        recorded=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.splits, str):
            if self.splits != KEEP:
                raise DatasetError(
                    f"unknown splits '{self.splits}'", "give shares such as 0.8,0.1,0.1, or keep"
                )
        elif (
            len(self.splits) != len(SPLITS)
            or min(self.splits) < 0
            or abs(sum(self.splits) - 1) > 1e-6
            or min(self.splits[:2]) == 0
            or not math.isfinite(sum(self.splits))
        ):
            shares = ", ".join(f"{share:g}" for share in self.splits)
            raise DatasetError(
                f"splits {shares} are not shares of train, val and test",
                "give three shares such as 0.8,0.1,0.1, with a sum of 1 and train and val above 0",
            )
