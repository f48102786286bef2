"""Face detectors: a picture in, face boxes out; they know nothing of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area
from maskyolo.core.choices import CrossCheck, FaceDetectorName
from maskyolo.errors import MaskyoloError
from maskyolo.images import ImageArray

__all__ = [
    "FaceDetector",
    "Faces",
    "join_faces",
    "leaves_room",
    "load_face_detector",
]

#: A largest face below this share of the photo's side leaves room for others. Of 570 faces that maskyolo-n-folders or YuNet see beside the
#: subjects of 3,943 photos, three in four are in such photos (one in eight) or in those where YuNet's usual look sees a further face.
_ROOM = 0.4


@dataclass(frozen=True)
class Faces:
    """The faces of one picture, best score first.

    Attributes:
        boxes: xyxy pixels clipped to the picture, float32 (n, 4).
        scores: the detector's confidence in 0..1, float32 (n,).
        origins: the detector that made each box, where several were asked; empty where only one was.
        agreed: whether another opinion than its finder's sees the face too, bool (n,); None where nobody was asked.
        landmarks: xy pixels float32 (n, 5, 2) of the right eye (left in the picture), left eye, tip of the nose, right and left
            corner of the mouth; None from detectors that know none. They may lie outside the picture.
        doubtful: what else was seen but does not count as a face; None from detectors that do not tell.
    """

    boxes: Boxes
    scores: npt.NDArray[np.float32]
    origins: tuple[str, ...] = ()
    agreed: npt.NDArray[np.bool_] | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    doubtful: Faces | None = None

    @classmethod
    def none(cls) -> Faces:
        """Return no faces: shapes (0, 4) and (0,)."""
        return cls(as_boxes([]), np.zeros(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> Faces:
        """Return the faces at the places where `chosen`, bool (n,), is true, without `doubtful`."""
        return Faces(
            self.boxes[chosen],
            self.scores[chosen],
            tuple(origin for origin, here in zip(self.origins, chosen, strict=True) if here)
            if self.origins
            else (),
            None if self.agreed is None else self.agreed[chosen],
            None if self.landmarks is None else self.landmarks[chosen],
        )


def leaves_room(boxes: Boxes, width: int, height: int, share: float = _ROOM) -> bool:
    """Tell whether the largest of some faces, xyxy (n, 4), is below this share of the photo's side, so that it may show others."""
    return bool(box_area(boxes).max(initial=0) < share**2 * width * height)


def join_faces(first: Faces, second: Faces) -> Faces:
    """Return the faces of both; `agreed` only if both have it, no `landmarks`, no `doubtful`."""
    both = (
        None
        if first.agreed is None or second.agreed is None
        else np.concatenate([first.agreed, second.agreed])
    )
    return Faces(
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        first.origins + second.origins,
        both,
    )


class FaceDetector(Protocol):
    """What a face detector has: a name for the ledger and one method."""

    name: str

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3)."""
        ...


def load_face_detector(
    name: FaceDetectorName | str = FaceDetectorName.SSD,
    weights: Path | str | None = None,
    conf: float = 0.5,
    cross_check: CrossCheck | str = CrossCheck.NONE,
) -> FaceDetector:
    """Load a face detector.

    Args:
        name: a `FaceDetectorName`, or its text.
        weights: the detector's weights, or the folder that contains them. Default: searched for as
            `find_weights` describes.
        conf: minimum score of a face; Haar has no scores.
        cross_check: which models check and complete the faces of `ssd`; the other detectors
            ignore it.

    Raises:
        MaskyoloError: an unknown detector or cross-check, or weights for Haar, which comes with
            OpenCV.
        WeightsError: the weights are missing or have the wrong checksum.
    """
    name = FaceDetectorName.parse(name, "face detector")
    cross_check = CrossCheck.parse(cross_check, "cross-check")
    if name is FaceDetectorName.HAAR:
        if weights is not None:
            raise MaskyoloError(
                f"the face detector haar takes no weights, but {weights} was given",
                "leave them out or choose another detector",
            )
        from maskyolo.faces.haar import Haar

        return Haar()
    if name is FaceDetectorName.YUNET:
        from maskyolo.faces.yunet import YuNet

        return YuNet(weights, conf)
    from maskyolo.faces.ssd import MultiPassSsd, Ssd

    ssd = Ssd(weights, conf=conf)
    if name is FaceDetectorName.SSD_PLAIN:
        return ssd
    if cross_check is CrossCheck.NONE:
        return MultiPassSsd(ssd)
    from maskyolo.faces.second_opinion import FaceEnsemble
    from maskyolo.faces.yunet import YuNet

    if cross_check is CrossCheck.YUNET:
        return FaceEnsemble(MultiPassSsd(ssd), YuNet())
    from maskyolo.faces.third_opinion import MaskModel

    return FaceEnsemble(MultiPassSsd(ssd), YuNet(), MaskModel())
