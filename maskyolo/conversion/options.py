"""The options of `maskyolo convert`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Bystanders, CrossCheck, FaceDetectorName, SourceFormat
from maskyolo.core.classes import SPLITS, parse_class_map
from maskyolo.core.options import Options, Panel, option
from maskyolo.errors import DatasetError

__all__ = ["KEEP", "ConvertOptions"]

#: Value of `splits` that keeps the splits of annotated sets.
KEEP = "keep"


def _parse_splits(text: str) -> tuple[float, ...] | str:
    if text == KEEP:
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected fractions such as 0.8,0.1,0.1, or keep, got '{text}'") from None


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options, panel=Panel.INPUT):
    """Which photos `convert_dataset` takes, how it labels them, and how it splits them.

    Raises:
        MaskyoloError: a value is out of its range, or not one of a fixed set of choices.
        DatasetError: the splits are not fractions that sum to 1.
    """

    format: SourceFormat = option(
        SourceFormat.AUTO, help="Format of the sources. auto: detected for each source."
    )
    image_list: Path | str | None = option(
        None,
        help="File with the names of the photos to use, one per line. Default: all.",
        flags=("--list",),
        cli_type=Path | None,
    )
    class_map: Mapping[str, str] | None = option(
        None,
        help="NAME=CLASS: how to treat a folder or class: with_mask, without_mask, incorrect_mask "
        "(the third class), drop (leave out), ignore (blank out) or keep (as a class of its own). "
        "Can be repeated.",
        flags=("--map",),
        cli_type=list[str] | None,
        cli_parse=parse_class_map,
    )
    detector: FaceDetectorName = option(
        FaceDetectorName.SSD,
        help="Face detector: ssd (several passes, for reliable boxes), ssd-plain (one pass), "
        "yunet, haar, or yolo (any YOLO face detector, given with --weights).",
        panel=Panel.LABELING,
    )
    weights: Path | str | None = option(
        None,
        help="Weights of the face detector, or the folder that contains them.",
        cli_type=Path | None,
        panel=Panel.LABELING,
    )
    conf: float = option(
        0.5,
        help="Minimum face score. If no face in a photo reaches it, ssd's best face with a score "
        "of at least 0.12 is used, provided that two passes or both detectors find it.",
        minimum=0,
        maximum=1,
        panel=Panel.LABELING,
    )
    bystanders: Bystanders = option(
        Bystanders.DETECTOR,
        help="How to label bystanders: detector (maskyolo-n-folders decides; blanked out if "
        "unsure), blank (always blanked out), set-aside (photos with bystanders are left out) or "
        "folder (the folder's class).",
        panel=Panel.LABELING,
    )
    cross_check: CrossCheck = option(
        CrossCheck.BOTH,
        help="Models that verify and complete the faces found by ssd: yunet, both (yunet, and "
        "maskyolo-n-folders for more precise boxes and missed faces) or none. Applies to ssd only.",
        panel=Panel.LABELING,
    )
    splits: Sequence[float] | str = option(
        (0.8, 0.1, 0.1),
        help="Fractions of train, val and test, or keep for the annotated sets' own splits.",
        cli_type=str,
        cli_default="0.8,0.1,0.1",
        cli_parse=_parse_splits,
        panel=Panel.SPLITS,
    )
    seed: int = option(0, help="Random seed.", minimum=0, panel=Panel.ADVANCED)
    exclude: Sequence[Path | str] | None = option(
        None,
        help="Folder of images, such as a benchmark, whose near-copies are left out. Can be "
        "repeated.",
        cli_type=list[Path] | None,
        panel=Panel.SPLITS,
    )
    scenes: int = option(
        0,
        help="Number of scenes (streets, crowds) to compose from the training photos' faces and "
        "add to train.",
        minimum=0,
        panel=Panel.SPLITS,
    )
    update: bool = option(
        False,
        help="Update the data set in --out; corrections made by hand are kept.",
        panel=Panel.OUTPUT,
    )
    sheets: bool = option(
        True, help="Save contact sheets of the photos, by status.", panel=Panel.OUTPUT
    )
    workers: int | None = option(
        None,
        help="Number of photos to process in parallel. Default: the number of cores plus one.",
        minimum=1,
        recorded=False,
        panel=Panel.ADVANCED,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.splits, str):
            if self.splits != KEEP:
                raise DatasetError(
                    f"unknown splits '{self.splits}'", "give fractions such as 0.8,0.1,0.1, or keep"
                )
        elif (
            len(self.splits) != len(SPLITS)
            or min(self.splits) < 0
            or abs(sum(self.splits) - 1) > 1e-6
            or min(self.splits[:2]) == 0
            or not math.isfinite(sum(self.splits))
        ):
            given = ", ".join(f"{fraction:g}" for fraction in self.splits)
            raise DatasetError(
                "splits must be three fractions that sum to 1, with train and val above 0, "
                f"got {given}",
                "use a value such as 0.8,0.1,0.1",
            )
