"""Load a face detector by name."""

from __future__ import annotations

from pathlib import Path

from maskyolo.core.choices import CrossCheck, FaceDetectorName
from maskyolo.detectors.faces.base import FaceDetector
from maskyolo.detectors.faces.convention import InConvention
from maskyolo.errors import MaskyoloError

__all__ = ["load_face_detector"]


def load_face_detector(
    name: FaceDetectorName | str = FaceDetectorName.SSD,
    weights: Path | str | None = None,
    conf: float = 0.5,
    cross_check: CrossCheck | str = CrossCheck.NONE,
    trust: bool = False,
    threads: int | None = None,
    convention: bool = False,
) -> FaceDetector:
    """Load a face detector.

    Args:
        name: a `FaceDetectorName`, or its text.
        weights: the detector's weights, or the folder that contains them. Default: located by
            `find_weights`.
        conf: minimum score of a face. Haar ignores it, because it has no scores.
        cross_check: which models verify and complete the faces found by `ssd`. All other detectors
            ignore it.
        trust: whether to load a `.pt` file of unknown origin; `yolo` only.
        threads: maximum number of CPU threads; `yolo` only, as the others use OpenCV's threads.
        convention: whether its boxes are moved to where data sets have them (see `InConvention`).
            Default: as the detector draws them, which classifiers of crops were trained on.

    Raises:
        MaskyoloError: the detector or cross-check is unknown, weights are given for Haar, which
            is included in OpenCV, or none are given for `yolo`.
        WeightsError: the weights are missing or have the wrong checksum.
    """
    name = FaceDetectorName.parse(name, "face detector")
    cross_check = CrossCheck.parse(cross_check, "cross-check")
    detector = _load(name, weights, conf, cross_check, trust, threads)
    return InConvention(detector) if convention else detector


def _load(
    name: FaceDetectorName,
    weights: Path | str | None,
    conf: float,
    cross_check: CrossCheck,
    trust: bool,
    threads: int | None,
) -> FaceDetector:
    if name is FaceDetectorName.HAAR:
        if weights is not None:
            raise MaskyoloError(
                f"haar takes no weights, but {weights} was given",
                "leave out the weights, or choose another detector",
            )
        from maskyolo.detectors.faces.haar import Haar

        return Haar()
    if name is FaceDetectorName.YOLO:
        if weights is None:
            raise MaskyoloError(
                "the face detector yolo needs its weights",
                "give its .onnx, .xml or .pt file with --face (convert: --weights)",
            )
        from maskyolo.detectors.faces.yolo import YoloFaces

        return YoloFaces(weights, conf, trust, threads)
    if name is FaceDetectorName.YUNET:
        from maskyolo.detectors.faces.yunet import YuNet

        return YuNet(weights, conf)
    from maskyolo.detectors.faces.ssd import MultiPassSsd, Ssd

    ssd = Ssd(weights, conf=conf)
    if name is FaceDetectorName.SSD_PLAIN:
        return ssd
    if cross_check is CrossCheck.NONE:
        return MultiPassSsd(ssd)
    from maskyolo.detectors.faces.ensemble import FaceEnsemble
    from maskyolo.detectors.faces.yunet import YuNet

    if cross_check is CrossCheck.YUNET:
        return FaceEnsemble(MultiPassSsd(ssd), YuNet())
    from maskyolo.detectors.faces.mask_model import MaskModel

    return FaceEnsemble(MultiPassSsd(ssd), YuNet(), MaskModel())
