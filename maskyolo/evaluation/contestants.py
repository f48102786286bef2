"""The detectors that are compared: parsed, named and loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.choices import FaceDetectorName, Pipeline
from maskyolo.core.detector import Detector
from maskyolo.detectors.loading import DEFAULT_MODELS, load_detector
from maskyolo.errors import MaskyoloError
from maskyolo.evaluation.options import CompareOptions

__all__ = [
    "DEFAULT_DETECTORS",
    "Contestant",
    "load_contestants",
    "model_title",
    "parse_contestants",
    "settings_of",
    "texts_of",
]

_SEPARATOR = re.compile(r"[/\\]")
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

        Examples:
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
    """Name each detector by its model, with as few of a file's folders as tell them apart."""
    parsed = [Contestant.parse(str(one)) if isinstance(one, (str, Path)) else one for one in models]
    keys = [
        (one.pipeline, one.model, one.detector) if isinstance(one, Contestant) else id(one)
        for one in parsed
    ]
    titles = [_title(one, parts=1) for one in parsed]
    for place in range(len(parsed)):
        if keys.index(keys[place]) < place:
            raise MaskyoloError(
                f"cannot compare '{titles[place]}' with itself: it is given twice",
                "give two different models",
            )
    named: dict[str, Contestant | Detector] = {}
    for place, one in enumerate(parsed):
        title, others = titles[place], [*parsed[:place], *parsed[place + 1 :]]
        if title in titles[:place] + titles[place + 1 :]:
            title = f"{title} {place + 1}"
            if isinstance(one, Contestant):
                depth = len(_SEPARATOR.split(one.model)) + 1
                title = next(
                    (
                        _title(one, parts)
                        for parts in range(2, depth)
                        if _title(one, parts) not in [_title(other, parts) for other in others]
                    ),
                    one.text,
                )
        named[title] = one
    return named


def model_title(model: str, parts: int = 1) -> str:
    """Return a model's name, or the last parts of its file's path.

    Examples:
        >>> model_title("runs/train/a/weights/best.onnx"), model_title("maskyolo-n")
        ('best.onnx', 'maskyolo-n')
    """
    return "/".join(_SEPARATOR.split(model.rstrip("/\\"))[-parts:])


def _title(one: Contestant | Detector, parts: int) -> str:
    if not isinstance(one, Contestant):
        return type(one).__name__
    pipeline = "" if one.pipeline == Pipeline.YOLO else f"{one.pipeline}:"
    return f"{pipeline}{model_title(one.model, parts)}" + (
        f"@{one.detector}" if one.detector else ""
    )


def texts_of(contestants: Mapping[str, Contestant | Detector]) -> dict[str, str]:
    """Return how each detector was given, by name; loaded ones have only their name."""
    return {
        title: one.text if isinstance(one, Contestant) else title
        for title, one in contestants.items()
    }


def settings_of(
    contestants: Mapping[str, Contestant | Detector],
    chosen: CompareOptions,
    conf: float,
    face_conf: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the arguments of `load_detector`, by name, for the detectors that are not loaded."""
    to_load = {title: one for title, one in contestants.items() if isinstance(one, Contestant)}
    shared = {
        "device": chosen.device,
        "max_det": chosen.max_det,
        "threads": chosen.threads,
        "trust": chosen.trust,
        "incorrect": chosen.incorrect,
    }
    one_pass = {
        **shared,
        "imgsz": chosen.imgsz,
        "iou": chosen.iou,
        "class_map": chosen.class_map,
    }
    mixed = any(one.pipeline == "yolo" for one in to_load.values())
    settings = {}
    for title, one in to_load.items():
        # only yolo uses size, IoU and map; if no detector does, `load_detector` rejects them
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
