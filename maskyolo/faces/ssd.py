"""OpenCV's SSD face detector (ResNet-10, 300x300): as it is, and made reliable enough to draw labels.

The SSD fails on tight face crops in two ways. It misses the face; or it answers with a *ghost*, a confident box of the face's
size pushed down and to the right, often partly outside the picture. Both come from faces that are too large for its anchors, so
`MultiPassSsd` shows it the picture several times, with borders of different widths, and believes each look only for the sizes
of face it is good at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, box_iou, clip_boxes
from maskyolo.errors import WeightsError
from maskyolo.faces import Faces
from maskyolo.images import ImageArray
from maskyolo.manifest import find_weights

__all__ = [
    "AGREEING",
    "LOOKS",
    "Candidates",
    "Look",
    "MultiPassSsd",
    "Ssd",
    "cut_window",
    "merge_candidates",
]

_SIDE = 300
#: The BGR mean the network was trained with (its prototxt's transform); borders have this colour, so they look like nothing.
_MEAN = (104.0, 177.0, 123.0)

#: float32 (n, 6): xyxy pixels of the picture (not clipped), score, number of the look; once merged, how many looks there were.
Candidates = npt.NDArray[np.float32]


class Ssd:
    """The SSD on the plain picture scaled to 300x300, as the projects of 2020 use it; boxes clipped to the picture."""

    name = "ssd-plain"

    def __init__(self, weights: Path | str | None = None, conf: float = 0.5) -> None:
        model = find_weights("ssd", weights)
        beside = model.parent if (model.parent / "deploy.prototxt").is_file() else None
        prototxt = find_weights("ssd-prototxt", beside)
        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise WeightsError(
                f"OpenCV {cv2.__version__} cannot read {model.name}: it has no Caffe importer; pip install 'opencv-python<5'"
            )
        self.conf = conf
        self._net = cv2.dnn.readNetFromCaffe(str(prototxt), str(model))

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3) that one pass finds."""
        height, width = image.shape[:2]
        (found,) = self.forward([_fit(image)], self.conf)
        boxes = clip_boxes(found[:, :4] * [width, height, width, height], width, height)
        seen = box_area(boxes) > 0
        return Faces(boxes[seen], found[seen, 4])

    def forward(self, canvases: list[ImageArray], conf: float) -> list[npt.NDArray[np.float32]]:
        """Run the network on BGR uint8 pictures, all of one size; for each return (n, 5): xyxy as shares of its sides, score."""
        self._net.setInput(cv2.dnn.blobFromImages(canvases, 1.0, canvases[0].shape[1::-1], _MEAN))
        found = self._net.forward()[0, 0]  # (n, 7): number of the picture, class, score, xyxy
        found = found[found[:, 2] >= conf]
        return [found[found[:, 0] == number][:, [3, 4, 5, 6, 2]] for number in range(len(canvases))]


@dataclass(frozen=True)
class Look:
    """One way to show the picture to the SSD.

    Attributes:
        border: width of the border on every side, as a share of the picture's longer side.
        mirrored: left and right swapped.
        largest: the largest face believed, as a share of the bordered picture's side (roots of areas).
    """

    border: float
    mirrored: bool = False
    largest: float = 0.6


#: A border of half the side for faces that fill the picture, none for small faces, where ghosts cannot be, and further looks for
#: pictures in which these find nothing.
LOOKS = (
    Look(0.5),
    Look(0.0, largest=0.3),
    Look(0.25),
    Look(0.35),
    Look(1.0),
    Look(0.5, mirrored=True),
)
#: What the SSD is shown of a place where a face is thought to be: a window of this many times its side, scaled to so many pixels, and the
#: largest face believed in it, as a share of the window. It takes a third of the time of a look at the picture.
_WINDOW, _WINDOW_SIDE, _WINDOW_LARGEST = 2.0, 160, 0.75
#: How much a face must overlap the place where it is thought to be.
_PLACE_IOU = 0.35
#: The least score of a candidate: the best face of a photo is believed from it on when two looks agree on its place.
_WEAK = 0.12
AGREEING = 2


class MultiPassSsd:
    """The SSD over several looks at a picture, merged into one box a face, ghosts rejected by their geometry.

    Two looks first; where they find no face, six. Where these find none either, the best weak one counts (score from 0.12) that
    two looks agree on. Measured on the 4,094 photos of a usual two-folder data set: docs/labels.md.
    """

    name = "ssd"

    def __init__(self, ssd: Ssd) -> None:
        self.conf = ssd.conf
        self._ssd = ssd

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3), merged over the looks, boxes clipped to it."""
        height, width = image.shape[:2]
        candidates = self.look(image, LOOKS[:2])
        faces = merge_candidates(candidates, self.conf)
        if not len(faces):
            merged = merge_candidates(np.concatenate([candidates, self.look(image, LOOKS[2:])]))
            sure = merged[:, 4] >= self.conf
            faces = merged[sure] if sure.any() else merged[merged[:, 5] >= AGREEING][:1]
        return Faces(clip_boxes(faces[:, :4], width, height), faces[:, 4])

    def look(self, image: ImageArray, looks: tuple[Look, ...]) -> Candidates:
        """Return the believable candidates of a BGR uint8 picture (H, W, 3) in some looks, weak ones too, in no order."""
        height, width = image.shape[:2]
        borders = [round(look.border * max(height, width)) for look in looks]
        canvases = [
            _fit(image, border, look.mirrored) for look, border in zip(looks, borders, strict=True)
        ]
        believed = []
        for look, border, found in zip(
            looks, borders, self._ssd.forward(canvases, min(_WEAK, self.conf)), strict=True
        ):
            full_width, full_height = width + 2 * border, height + 2 * border
            if look.mirrored:
                found[:, [0, 2]] = 1 - found[:, [2, 0]]
            boxes = as_boxes(
                found[:, :4] * [full_width, full_height, full_width, full_height] - border
            )
            real = _is_face_shaped(boxes, width, height)
            real &= np.sqrt(box_area(boxes)) < look.largest * np.sqrt(full_width * full_height)
            believed.append(
                np.column_stack([boxes, found[:, 4], np.full(len(found), LOOKS.index(look))])[real]
            )
        return np.concatenate(believed).astype(np.float32)

    def look_at(self, image: ImageArray, places: Boxes) -> Candidates:
        """Return the believable candidates at some places, xyxy pixels (m, 4), where faces are thought to be, weak ones too, in no order.

        Each is seen from near; the number of its look is -1.
        """
        height, width = image.shape[:2]
        believed = [np.zeros((0, 6), dtype=np.float32)]
        for place in places:
            centre, side = (
                (place[:2] + place[2:]) / 2,
                _WINDOW * float((place[2:] - place[:2]).max()),
            )
            left, top = (float(value) - side / 2 for value in centre)
            (found,) = self._ssd.forward(
                [cut_window(image, left, top, side, _WINDOW_SIDE, _MEAN)], min(_WEAK, self.conf)
            )
            boxes = as_boxes(found[:, :4] * side + [left, top, left, top])
            real = _is_face_shaped(boxes, width, height) & (
                box_iou(boxes, place)[:, 0] > _PLACE_IOU
            )
            real &= np.sqrt(box_area(boxes)) < _WINDOW_LARGEST * side
            believed.append(np.column_stack([boxes, found[:, 4], np.full(len(found), -1)])[real])
        return np.concatenate(believed).astype(np.float32)


def cut_window(
    image: ImageArray,
    left: float,
    top: float,
    side: float,
    pixels: int,
    colour: tuple[float, float, float],
) -> ImageArray:
    """Return a square window of the picture scaled to `pixels` x `pixels`; where it reaches beyond the picture it has the colour, BGR."""
    scale = pixels / side
    if scale < 0.5:  # halved often enough before, so that no pixel is left out
        image = np.asarray(
            cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA),
            dtype=np.uint8,
        )
        left, top, scale = 2 * scale * left, 2 * scale * top, 0.5
    moved = np.array(
        [[scale, 0, scale * (0.5 - left) - 0.5], [0, scale, scale * (0.5 - top) - 0.5]]
    )
    window = cv2.warpAffine(
        image, moved, (pixels, pixels), borderMode=cv2.BORDER_CONSTANT, borderValue=colour
    )
    return np.asarray(window, dtype=np.uint8)


def _fit(image: ImageArray, border: int = 0, mirrored: bool = False) -> ImageArray:
    """Put a border of the mean colour around the picture and scale it to 300x300; scaled first, so that huge pictures stay cheap."""
    height, width = image.shape[:2]
    inner_width = max(1, round(_SIDE * width / (width + 2 * border)))
    inner_height = max(1, round(_SIDE * height / (height + 2 * border)))
    inner = cv2.resize(image, (inner_width, inner_height))
    left, top = (_SIDE - inner_width) // 2, (_SIDE - inner_height) // 2
    canvas = np.full((_SIDE, _SIDE, 3), _MEAN, dtype=np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return np.ascontiguousarray(canvas[:, ::-1]) if mirrored else canvas


def _is_face_shaped(
    boxes: npt.NDArray[np.float32], width: int, height: int
) -> npt.NDArray[np.bool_]:
    """Tell which boxes (n, 4) lie at least 70 % inside the picture and are neither flat nor thin; a ghost is mostly outside."""
    sides = boxes[:, 2:] - boxes[:, :2]
    area = box_area(boxes)
    inside = box_area(clip_boxes(boxes, width, height))
    shaped: npt.NDArray[np.bool_] = (
        (area > 0)
        & (inside > 0.7 * area)
        & (sides[:, 1] < 2.5 * sides[:, 0])
        & (sides[:, 0] < 1.5 * sides[:, 1])
    )
    return shaped


def merge_candidates(candidates: Candidates, conf: float = 0.0) -> Candidates:
    """Merge candidates of one face: score-weighted mean of the boxes that overlap the best one, its score, the number of looks.

    Candidates below `conf` are left out; what is left comes back best first.

    The mean of overlapping boxes is that of weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302).
    """
    rest = candidates[candidates[:, 4] >= conf]
    rest = rest[np.argsort(-rest[:, 4], kind="stable")]
    merged = []
    while len(rest):
        iou = box_iou(rest[:1, :4], rest[:, :4])[0]
        areas = box_area(rest[:, :4])
        shared = iou / (1 + iou) * (areas[0] + areas)  # the intersection's area
        same = iou > 0.45
        same[0] = True
        box = np.average(rest[same, :4], axis=0, weights=rest[same, 4])
        merged.append([*box, rest[0, 4], len(set(rest[same, 5]))])
        rest = rest[
            ~(same | (shared > 0.75 * np.minimum(areas, areas[0])))
        ]  # a part of that face, or a frame around it, goes too
    return np.asarray(merged, dtype=np.float32).reshape(-1, 6)
