"""The interface of face detectors, and the faces they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_area
from maskyolo.core.images import ImageArray

__all__ = ["FaceDetector", "Faces", "join_faces", "leaves_room"]

#: If the largest face is below this fraction of the photo's side, there may be others. Of 570 faces
#: that maskyolo-n-folders or YuNet find next to the subjects of 3,943 photos, three in four are in
#: such photos (one photo in eight), or in photos where YuNet's usual pass finds another face.
_ROOM = 0.4


@dataclass(frozen=True)
class Faces:
    """The faces in one image, best score first.

    Attributes:
        boxes: xyxy pixels clipped to the image, float32 (n, 4).
        scores: the detector's confidence from 0 to 1, float32 (n,).
        origins: the detector that made each box, if several were used; else empty.
        agreed: whether a detector other than the box's own finds the face too, bool (n,); None if
            only one was used.
        landmarks: xy pixels float32 (n, 5, 2) of the right eye (left in the image), left eye, nose
            tip, right and left corner of the mouth; None if the detector has no landmarks. They
            may lie outside the image.
        doubtful: detections that do not count as faces; None if the detector does not return
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
        """Return an empty object: shapes (0, 4) and (0,)."""
        return cls(as_boxes([]), np.zeros(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> Faces:
        """Return the faces for which `chosen`, bool (n,), is true; `doubtful` is dropped."""
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
        boxes: the faces found, xyxy (n, 4).
        width: width of the photo in pixels.
        height: height of the photo in pixels.
        share: there may be more if the largest face is below this fraction of the photo's side.
    """
    return bool(box_area(boxes).max(initial=0) < share**2 * width * height)


def join_faces(first: Faces, second: Faces) -> Faces:
    """Return the faces of both, concatenated.

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
