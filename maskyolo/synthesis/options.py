"""The options of `maskyolo synthesize`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskyolo.core.options import Options, option

__all__ = ["SynthesizeOptions"]


@dataclass(frozen=True, kw_only=True)
class SynthesizeOptions(Options):
    """What `synthesize_masks` draws, and on what fraction of the photos."""

    masks: float = option(
        0.5, help="Fraction of the photos to draw masks on.", minimum=0, maximum=1
    )
    per_photo: int = option(
        1, help="Number of masked copies to make of each photo selected by --masks.", minimum=1
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
        None, help="YuNet's weights, or the folder that contains them.", cli_type=Path | None
    )
    seed: int = option(0, help="Random seed.", minimum=0)
    workers: int = option(
        2, help="Number of photos to process in parallel.", minimum=1, recorded=False
    )
