"""Face detectors: a picture in, face boxes out; they know nothing of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area
from maskyolo.errors import MaskyoloError
from maskyolo.images import ImageArray

__all__ = [
    "FACE_DETECTORS",
    "SECOND_OPINIONS",
    "FaceDetector",
    "Faces",
    "join_faces",
    "leaves_room",
    "load_face_detector",
]

#: What `convert --detector` accepts.
FACE_DETECTORS = ("ssd", "ssd-plain", "yunet", "haar")
#: What `convert --second-opinion` accepts.
SECOND_OPINIONS = ("both", "yunet", "none")
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
    name: str = "ssd",
    weights: Path | str | None = None,
    conf: float = 0.5,
    second_opinion: str = "none",
) -> FaceDetector:
    """Load a face detector.

    Args:
        name: `ssd`, OpenCV's SSD over several looks at the picture (reliable boxes for labels); `ssd-plain`, one pass at 300x300
            as the projects of 2020 use it; `yunet`, which gives landmarks too; or `haar`, OpenCV's old cascade.
        weights: the detector's weights or the folder that has them; by default looked for as `manifest.find_weights` says.
        conf: least score of a face; Haar has no scores.
        second_opinion: who checks and completes the faces of `ssd`: `yunet`; `both`, YuNet and, for the boxes, maskyolo-n-folders; `none`.
            Other detectors stand alone.

    Raises:
        MaskyoloError: an unknown name of either, or weights for Haar, which comes with OpenCV.
        WeightsError: weights missing, or with the wrong checksum.
    """
    if name not in FACE_DETECTORS:
        raise MaskyoloError(
            f"unknown face detector '{name}'; choose from {', '.join(FACE_DETECTORS)}"
        )
    if second_opinion not in SECOND_OPINIONS:
        raise MaskyoloError(
            f"unknown second opinion '{second_opinion}'; choose from {', '.join(SECOND_OPINIONS)}"
        )
    if name == "haar":
        if weights is not None:
            raise MaskyoloError(
                f"the face detector haar takes no weights, but {weights} was given; leave them out or choose another"
            )
        from maskyolo.faces.haar import Haar

        return Haar()
    if name == "yunet":
        from maskyolo.faces.yunet import YuNet

        return YuNet(weights, conf)
    from maskyolo.faces.ssd import MultiLookSsd, Ssd

    ssd = Ssd(weights, conf=conf)
    if name == "ssd-plain":
        return ssd
    if second_opinion == "none":
        return MultiLookSsd(ssd)
    from maskyolo.faces.second_opinion import SecondOpinion
    from maskyolo.faces.yunet import YuNet

    if second_opinion == "yunet":
        return SecondOpinion(MultiLookSsd(ssd), YuNet())
    from maskyolo.faces.third_opinion import ThirdOpinion

    return SecondOpinion(MultiLookSsd(ssd), YuNet(), ThirdOpinion())
