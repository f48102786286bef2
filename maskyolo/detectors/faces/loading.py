"""Load a face detector by name."""

from __future__ import annotations

from pathlib import Path

from maskyolo.core.choices import CrossCheck, FaceDetectorName
from maskyolo.detectors.faces.base import FaceDetector
from maskyolo.errors import MaskyoloError

__all__ = ["load_face_detector"]


def load_face_detector(
    name: FaceDetectorName | str = FaceDetectorName.SSD,
    weights: Path | str | None = None,
    conf: float = 0.5,
    cross_check: CrossCheck | str = CrossCheck.NONE,
) -> FaceDetector:
    """Load a face detector.

    Args:
        name: a `FaceDetectorName`, or its text.
        weights: the detector's weights, or the folder that contains them. Default: located by
            `find_weights`.
        conf: minimum score of a face. Haar ignores it, because it has no scores.
        cross_check: which models verify and complete the faces found by `ssd`. All other detectors
            ignore it.

    Raises:
        MaskyoloError: the detector or cross-check is unknown, or weights are given for Haar, which
            is included in OpenCV.
        WeightsError: the weights are missing or have the wrong checksum.
    """
    name = FaceDetectorName.parse(name, "face detector")
    cross_check = CrossCheck.parse(cross_check, "cross-check")
    if name is FaceDetectorName.HAAR:
        if weights is not None:
            raise MaskyoloError(
                f"haar takes no weights, but {weights} was given",
                "leave out the weights, or choose another detector",
            )
        from maskyolo.detectors.faces.haar import Haar

        return Haar()
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
