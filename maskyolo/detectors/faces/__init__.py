"""Face detectors: an image in, face boxes out. They do not detect masks."""

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

#: If the largest face is below this share of the photo's side, there may be others. Of 570 faces
#: that maskyolo-n-folders or YuNet see next to the subjects of 3,943 photos, three in four are in
#: such photos (one photo in eight), or in photos where YuNet's usual pass finds another face.
_ROOM = 0.4


@dataclass(frozen=True)
class Faces:
    """The faces in one image, best score first.

    Attributes:
        boxes: xyxy pixels clipped to the image, float32 (n, 4).
        scores: the detector's confidence from 0 to 1, float32 (n,).
        origins: the detector that made each box, if several were used; else empty.
        agreed: whether another detector than the box's own sees the face too, bool (n,); None if
            none was used.
        landmarks: xy pixels float32 (n, 5, 2) of the right eye (left in the image), left eye, tip
            of the nose, right and left corner of the mouth; None from detectors without them. They
            may lie outside the image.
        doubtful: detections that do not count as faces; None from detectors that do not return
            them.
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
        """Return the faces for which `chosen`, bool (n,), is true, without `doubtful`."""
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
    """Return whether a photo may show more faces than those found.

    Args:
        boxes: xyxy (n, 4), the faces found.
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        share: the largest face must be below this share of the photo's side.
    """
    return bool(box_area(boxes).max(initial=0) < share**2 * width * height)


def join_faces(first: Faces, second: Faces) -> Faces:
    """Return the faces of both.

    `agreed` is kept if both have it; `landmarks` and `doubtful` are dropped.
    """
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
    """A face detector: a name for the ledger, and one method."""

    name: str

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3)."""
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
