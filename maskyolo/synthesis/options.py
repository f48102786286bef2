"""The options of `maskyolo synthesize`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Options, Panel, option

__all__ = ["SynthesizeOptions"]


@dataclass(frozen=True, kw_only=True)
class SynthesizeOptions(Options, panel=Panel.OUTPUT):
    """What `synthesize_masks` draws, and on what fraction of the photos."""

    masks: float = option(
        0.5, help="Fraction of the photos to draw masks on.", minimum=0, maximum=1
    )
    per_photo: int = option(
        1, help="Number of masked copies to make of each photo selected by --masks.", minimum=1
    )
    incorrect: float = option(
        0.0,
        help="Fraction of the masked copies to draw with the mask worn incorrectly: under the "
        "nose, on the chin, or hanging from an ear. They go to incorrect_mask, a third class.",
        minimum=0,
        maximum=1,
    )
    occluders: float = option(
        0.3,
        help="Fraction of the other photos to copy with an occluder in front of the face: a hand, "
        "a cup, a scarf, ...",
        minimum=0,
        maximum=1,
    )
    keep_originals: bool = option(
        False, help="Also put the originals of the masked copies into without_mask."
    )
    weights: Path | str | None = option(
        None,
        help="YuNet's weights, or the folder that contains them.",
        cli_type=Path | None,
        panel=Panel.ADVANCED,
    )
    seed: int = option(0, help="Random seed.", minimum=0, panel=Panel.ADVANCED)
    workers: int = option(
        2,
        help="Number of photos to process in parallel.",
        minimum=1,
        recorded=False,
        panel=Panel.ADVANCED,
    )
