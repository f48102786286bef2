"""The detectors that are compared: parsed, named and loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.choices import FaceDetectorName
from maskyolo.core.detector import Detector
from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector
from maskyolo.errors import MaskyoloError
from maskyolo.evaluation.options import CompareOptions

__all__ = [
    "DEFAULT_DETECTORS",
    "Contestant",
    "load_contestants",
    "parse_contestants",
    "settings_of",
]

#: The detectors that are compared by default.
DEFAULT_DETECTORS = ("two-stage", "yolo")


@dataclass(frozen=True)
class Contestant:
    """One detector of a comparison, given as `[PIPELINE:][MODEL][@DETECTOR]`.

    Attributes:
        text: the text it was parsed from.
        pipeline: `yolo` or `two-stage`.
        model: name or file of a model.
        detector: face detector of `two-stage`, None for the default.
    """

    text: str
    pipeline: str
    model: str
    detector: str | None = None

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """Parse a model such as `maskyolo-n`, a pipeline for its default model, or both.

        Raises:
            MaskyoloError: no model is named, or `yolo` is given a face detector.

        Example:
            >>> one = Contestant.parse("two-stage:seed.onnx@yunet")
            >>> one.pipeline, one.model, one.detector
            ('two-stage', 'seed.onnx', 'yunet')
        """
        pipeline, separator, rest = text.partition(":")
        if text.partition("@")[0] in DEFAULT_MODELS:  # a pipeline with its default model
            pipeline, at, detector = text.partition("@")
            rest = at + detector
        elif not separator or pipeline not in DEFAULT_MODELS:
            pipeline, rest = "yolo", text
        model, _, detector = rest.rpartition("@")
        if detector not in tuple(FaceDetectorName):
            model, detector = rest, ""
        if detector and pipeline != "two-stage":
            raise MaskyoloError(
                f"cannot compare '{text}': yolo has no face detector", f"write two-stage:{rest}"
            )
        if not text:
            raise MaskyoloError(
                "cannot compare '': no model is named",
                "write for example maskyolo-n or two-stage:mobilenet_v2",
            )
        return cls(text, pipeline, model or DEFAULT_MODELS[pipeline], detector or None)

    def settings(
        self, conf: float, face_conf: float | None, shared: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of `load_detector`; `shared` are those common to all detectors."""
        face_conf = face_conf if self.pipeline == "two-stage" else None
        own = {"model": self.model, "pipeline": self.pipeline, "detector": self.detector}
        return {**own, "conf": conf, "face_conf": face_conf, **shared}


def parse_contestants(
    model: Sequence[str | Path | Detector] | Mapping[str, Detector],
) -> dict[str, Contestant | Detector]:
    """Return the detectors, loaded or not, by display name."""
    named: dict[str, Contestant | Detector] = (
        {**model} if isinstance(model, Mapping) else _name(model)
    )
    if len(named) < 2:
        raise MaskyoloError(
            f"cannot compare {len(named)} model",
            "give two or more, for example --model two-stage --model maskyolo-n",
        )
    return named


def _name(models: Sequence[str | Path | Detector]) -> dict[str, Contestant | Detector]:
    """Name each detector as it was given, without folders if that is unambiguous."""
    parsed = [Contestant.parse(str(one)) if isinstance(one, (str, Path)) else one for one in models]
    keys = [
        (one.pipeline, one.model, one.detector) if isinstance(one, Contestant) else id(one)
        for one in parsed
    ]
    titles = [
        re.sub(r"[^:@]*[/\\]", "", one.text) if isinstance(one, Contestant) else type(one).__name__
        for one in parsed
    ]
    named: dict[str, Contestant | Detector] = {}
    for place, one in enumerate(parsed):
        if keys.index(keys[place]) < place:
            raise MaskyoloError(
                f"cannot compare '{titles[place]}' with itself: it is given twice",
                "give two different models",
            )
        title = titles[place]
        if titles.count(title) > 1:
            title = one.text if isinstance(one, Contestant) else f"{title} {place + 1}"
        named[title] = one
    return named


def settings_of(
    contestants: Mapping[str, Contestant | Detector],
    chosen: CompareOptions,
    conf: float,
    face_conf: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the arguments of `load_detector`, by name, for the detectors that are not loaded."""
    to_load = {title: one for title, one in contestants.items() if isinstance(one, Contestant)}
    shared = {"device": chosen.device, "max_det": chosen.max_det, "trust": chosen.trust}
    one_pass = {**shared, "imgsz": chosen.imgsz, "iou": chosen.iou}
    mixed = any(one.pipeline == "yolo" for one in to_load.values())
    settings = {}
    for title, one in to_load.items():
        # only yolo uses size and IoU; if no detector does, `load_detector` rejects them
        own = shared if mixed and one.pipeline == "two-stage" else one_pass
        settings[title] = one.settings(conf, face_conf, own)
    return settings


def load_contestants(
    contestants: Mapping[str, Contestant | Detector], settings: Mapping[str, dict[str, Any]]
) -> dict[str, Detector]:
    """Return the detectors by name, loading those that are not loaded yet."""
    return {
        title: load_detector(**settings[title]) if isinstance(one, Contestant) else one
        for title, one in contestants.items()
    }
