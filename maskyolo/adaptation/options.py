"""The options of `maskyolo adapt`."""

from __future__ import annotations

from dataclasses import dataclass

from maskyolo.core.choices import Pipeline
from maskyolo.core.options import Panel, option
from maskyolo.detectors.options import ModelOptions
from maskyolo.errors import MaskyoloError

__all__ = ["AdaptOptions"]


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(ModelOptions, panel=Panel.INPUT):
    """Which frames `adapt` takes, and the detector that labels them.

    Raises:
        MaskyoloError: a value is out of its range, or the pipeline is two-stage.
    """

    frames: int = option(300, help="Maximum number of frames and images to take.", minimum=1)
    vid_stride: int = option(5, help="Look at every Nth frame of a recording.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pipeline is not Pipeline.YOLO:
            raise MaskyoloError(
                "adapt looks at images in several sizes, which two-stage cannot",
                "leave out --pipeline",
            )
