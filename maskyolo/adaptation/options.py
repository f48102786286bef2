"""The options of `maskyolo adapt`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.choices import Pipeline
from maskyolo.core.options import Options, Panel, option, option_of
from maskyolo.detectors.options import ModelOptions
from maskyolo.errors import MaskyoloError
from maskyolo.training.options import DetectorTrainOptions

__all__ = ["AdaptOptions"]


@dataclass(frozen=True, kw_only=True)
class _LearningOptions(Options, panel=Panel.TRAINING):
    """How to train on the frames; without `data`, they are only labeled."""

    data: Path | str | None = option(
        None,
        help="Data set that the present weights were trained on, to train without forgetting it. "
        "Default: only label frames.",
        cli_type=Path | None,
        panel=Panel.INPUT,
    )
    val_data: Path | str | None = option(
        None,
        help="Other frames of the camera, labeled by a person, to measure the gain: a data.yaml or "
        "its folder. Default: measure only on --data.",
        cli_type=Path | None,
        panel=Panel.INPUT,
    )
    base_images: int = option(
        200, help="Maximum number of training photos of --data to mix in.", minimum=0
    )
    blend: tuple[float, ...] = option(
        (0.25, 0.5, 0.75),
        help="Share of the trained weights in their average with the present ones, above 0 and at "
        "most 1. Can be repeated: the best one is kept.",
        cli_type=list[float],
        cli_parse=tuple,
    )
    recipe: Path | str | None = option(
        None,
        help="Training settings: a name in configs/ (default: adapt) or a YAML file.",
        cli_type=str | None,
    )
    epochs: int | None = option(None, help="Number of training epochs. Default: 2.", minimum=1)
    imgsz: int | None = option(
        None,
        help="Image size in pixels (longer side), a multiple of 32. Default: the size the present "
        "weights were trained at.",
        minimum=32,
    )
    batch: int | None = option_of(
        DetectorTrainOptions, "batch", help="Batch size. Default: 16 images."
    )
    seed: int = option(
        0,
        help="Random seed of the training, and of the choice of photos of --data.",
        minimum=0,
        panel=Panel.ADVANCED,
    )
    keep_frames: bool = option(
        True, help="Keep the frames and contact sheets after the training.", panel=Panel.OUTPUT
    )


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(_LearningOptions, ModelOptions, panel=Panel.INPUT):
    """Which frames `adapt` takes, the detector that labels them, and how to train on them.

    Raises:
        MaskyoloError: a value is out of its range, the pipeline is two-stage, or an option of the
            training is given without `data`.
    """

    frames: int = option(300, help="Maximum number of frames and images to take.", minimum=1)
    vid_stride: int = option(5, help="Look at every Nth frame of a recording.", minimum=1)
    blur_outside: bool = option(
        False, help="Blur the frames outside faces before they are stored.", panel=Panel.OUTPUT
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pipeline is not Pipeline.YOLO:
            raise MaskyoloError(
                "adapt looks at images in several sizes, which two-stage cannot",
                "leave out --pipeline",
            )
        if not self.blend or not all(0 < share <= 1 for share in self.blend):
            given = ", ".join(f"{share:g}" for share in self.blend) or "none"
            raise MaskyoloError(f"blend must be above 0 and at most 1, got {given}")
        if self.data is None and (self.val_data is not None or not self.keep_frames):
            given = "--no-keep-frames" if self.val_data is None else "--val-data"
            raise MaskyoloError(
                f"{given} is for a training, which needs a base set", "give --data DIR/data.yaml"
            )
