"""OpenCV's SSD face detector (ResNet-10, 300x300), unchanged or made reliable enough for labeling.

The SSD fails on tight face crops in two ways. It misses the face, or it returns a *ghost*: a
confident box of the face's size, shifted down and to the right, often partly outside the image.
Both happen when faces are too large for its anchors. So `MultiPassSsd` shows it the image several
times, with borders of different widths, and from each pass accepts only faces of the sizes that it
detects well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_iou, clip_boxes
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import Faces
from maskyolo.errors import WeightsError
from maskyolo.models.weights import find_weights

__all__ = [
    "AGREEING",
    "PASSES",
    "MultiPassSsd",
    "Pass",
    "RawDetections",
    "Ssd",
    "cut_window",
    "merge_detections",
]

#: Side in pixels of the network's input.
_SIDE = 300
#: The BGR mean that the network subtracts (from its prototxt's transform). Borders have this color,
#: so that they contain nothing to detect.
_MEAN = (104.0, 177.0, 123.0)

#: float32 (n, 6): xyxy in pixels of the image (not clipped), score, and index of the pass; in
#: merged detections, the last column is the number of passes that found the face.
RawDetections = npt.NDArray[np.float32]


class Ssd:
    """One pass of the SSD over the image scaled to 300x300, as in the projects of 2020."""

    name = "ssd-plain"

    def __init__(self, weights: Path | str | None = None, conf: float = 0.5) -> None:
        model = find_weights("ssd", weights)
        beside = model.parent if (model.parent / "deploy.prototxt").is_file() else None
        prototxt = find_weights("ssd-prototxt", beside)
        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise WeightsError(
                f"OpenCV {cv2.__version__} cannot read {model.name}: it has no Caffe importer",
                "run: pip install 'opencv-python<5'",
            )
        self.conf = conf
        self._net = cv2.dnn.readNetFromCaffe(str(prototxt), str(model))

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), boxes clipped to it."""
        height, width = image.shape[:2]
        (found,) = self.forward([_fit(image)], self.conf)
        boxes = clip_boxes(found[:, :4] * [width, height, width, height], width, height)
        seen = box_area(boxes) > 0
        return Faces(boxes[seen], found[seen, 4])

    def forward(self, canvases: list[ImageArray], conf: float) -> list[npt.NDArray[np.float32]]:
        """Run the network on a batch.

        Args:
            canvases: BGR uint8 images, all of one size.
            conf: minimum score.

        Returns:
            For each image float32 (n, 5): xyxy as fractions of its sides, score.
        """
        self._net.setInput(cv2.dnn.blobFromImages(canvases, 1.0, canvases[0].shape[1::-1], _MEAN))
        found = self._net.forward()[0, 0]  # (n, 7): index of the image, class, score, xyxy
        found = found[found[:, 2] >= conf]
        return [found[found[:, 0] == number][:, [3, 4, 5, 6, 2]] for number in range(len(canvases))]


@dataclass(frozen=True)
class Pass:
    """How the image is shown to the SSD in one pass.

    Attributes:
        border: width of the border on every side, as a fraction of the image's longer side.
        mirrored: whether left and right are swapped.
        largest: maximum size of an accepted face, as a fraction of the bordered image's side
            (square roots of areas).
    """

    border: float
    mirrored: bool = False
    largest: float = 0.6


#: First a wide border, for faces that fill the image, then none, for small faces, which have no
#: ghosts. The other passes are for images in which these two find nothing.
PASSES = (
    Pass(0.5),
    Pass(0.0, largest=0.3),
    Pass(0.25),
    Pass(0.35),
    Pass(1.0),
    Pass(0.5, mirrored=True),
)
#: For a close-up of a region that may contain a face, the SSD gets a window this many times the
#: region's side, scaled to this many pixels. The last value is the maximum size of an accepted
#: face, as a fraction of the window. This takes a third of the time of a pass over the image.
_WINDOW, _WINDOW_SIDE, _WINDOW_LARGEST = 2.0, 160, 0.75
#: Minimum overlap (IoU) of a face with the region that may contain it.
_REGION_IOU = 0.35
#: Minimum score of a raw detection. A photo's best face counts with as little as this score if this
#: many passes find it in the same place.
_WEAK = 0.12
AGREEING = 2


class MultiPassSsd:
    """Several passes of the SSD, merged into one box per face; ghosts are rejected by geometry.

    Two passes run first, and all six if these find no face. If none does, the best weak face (score
    of at least 0.12) that two passes find counts. docs/labels.md has measurements on the 4,094
    photos of a typical two-folder data set.
    """

    name = "ssd"

    def __init__(self, ssd: Ssd) -> None:
        self.conf = ssd.conf
        self._ssd = ssd

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), boxes clipped to it."""
        height, width = image.shape[:2]
        raw = self.detect_raw(image, PASSES[:2])
        faces = merge_detections(raw, self.conf)
        if not len(faces):
            merged = merge_detections(np.concatenate([raw, self.detect_raw(image, PASSES[2:])]))
            confident = merged[:, 4] >= self.conf
            faces = merged[confident] if confident.any() else merged[merged[:, 5] >= AGREEING][:1]
        return Faces(clip_boxes(faces[:, :4], width, height), faces[:, 4])

    def detect_raw(self, image: ImageArray, passes: tuple[Pass, ...]) -> RawDetections:
        """Return the plausible detections in some passes, including weak ones, unsorted.

        Args:
            image: BGR uint8 (H, W, 3).
            passes: some of `PASSES`.
        """
        height, width = image.shape[:2]
        borders = [round(one.border * max(height, width)) for one in passes]
        canvases = [
            _fit(image, border, one.mirrored) for one, border in zip(passes, borders, strict=True)
        ]
        accepted = []
        for one, border, found in zip(
            passes, borders, self._ssd.forward(canvases, min(_WEAK, self.conf)), strict=True
        ):
            full_width, full_height = width + 2 * border, height + 2 * border
            if one.mirrored:
                found[:, [0, 2]] = 1 - found[:, [2, 0]]
            boxes = as_boxes(
                found[:, :4] * [full_width, full_height, full_width, full_height] - border
            )
            plausible = _is_face_shaped(boxes, width, height)
            plausible &= np.sqrt(box_area(boxes)) < one.largest * np.sqrt(full_width * full_height)
            numbers = np.full(len(found), PASSES.index(one))
            accepted.append(np.column_stack([boxes, found[:, 4], numbers])[plausible])
        return np.concatenate(accepted).astype(np.float32)

    def detect_near(self, image: ImageArray, regions: Boxes) -> RawDetections:
        """Return the plausible detections in close-ups, including weak ones, unsorted.

        Args:
            image: BGR uint8 (H, W, 3).
            regions: xyxy pixels (m, 4) that may each contain a face.

        Returns:
            Raw detections, with -1 as the index of the pass.
        """
        height, width = image.shape[:2]
        accepted = [np.zeros((0, 6), dtype=np.float32)]
        for region in regions:
            center = (region[:2] + region[2:]) / 2
            side = _WINDOW * float((region[2:] - region[:2]).max())
            left, top = (float(value) - side / 2 for value in center)
            (found,) = self._ssd.forward(
                [cut_window(image, left, top, side, _WINDOW_SIDE, _MEAN)], min(_WEAK, self.conf)
            )
            boxes = as_boxes(found[:, :4] * side + [left, top, left, top])
            plausible = _is_face_shaped(boxes, width, height)
            plausible &= box_iou(boxes, region)[:, 0] > _REGION_IOU
            plausible &= np.sqrt(box_area(boxes)) < _WINDOW_LARGEST * side
            numbers = np.full(len(found), -1)
            accepted.append(np.column_stack([boxes, found[:, 4], numbers])[plausible])
        return np.concatenate(accepted).astype(np.float32)


def cut_window(
    image: ImageArray,
    left: float,
    top: float,
    side: float,
    pixels: int,
    color: tuple[float, float, float],
) -> ImageArray:
    """Cut a square window out of an image.

    Args:
        image: BGR uint8 (H, W, 3).
        left: left edge of the window in pixels; may lie outside the image.
        top: top edge of the window, likewise.
        side: side of the window in pixels.
        pixels: side of the result in pixels.
        color: BGR color for parts outside the image.

    Returns:
        BGR uint8 (pixels, pixels, 3).
    """
    scale = pixels / side
    if scale < 0.5:  # scale with INTER_AREA first, because warpAffine would skip pixels
        size = None  # as OpenCV rounds it, but for an image that is a line
        if round(2 * scale * min(image.shape[:2])) < 1:
            size = tuple(max(1, round(2 * scale * length)) for length in image.shape[1::-1])
        image = np.asarray(
            cv2.resize(image, size, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA),
            dtype=np.uint8,
        )
        left, top, scale = 2 * scale * left, 2 * scale * top, 0.5
    moved = np.array(
        [[scale, 0, scale * (0.5 - left) - 0.5], [0, scale, scale * (0.5 - top) - 0.5]]
    )
    window = cv2.warpAffine(
        image, moved, (pixels, pixels), borderMode=cv2.BORDER_CONSTANT, borderValue=color
    )
    return np.asarray(window, dtype=np.uint8)


def _fit(image: ImageArray, border: int = 0, mirrored: bool = False) -> ImageArray:
    """Add a border of the mean color to the image, and scale it to 300x300.

    The image is scaled first, so that large images do not take longer.
    """
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
    """Return which boxes (n, 4) lie at least 70 % inside the image and are neither flat nor thin.

    Ghosts lie mostly outside.
    """
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


def merge_detections(raw: RawDetections, conf: float = 0.0) -> RawDetections:
    """Merge the detections of each face into one.

    The merged box is the score-weighted mean of the boxes that overlap the best one, as in weighted
    boxes fusion (Solovyev et al. 2021, arXiv:1910.13302). The score is that of the best one.

    Args:
        raw: detections from any number of passes.
        conf: minimum score of detections.

    Returns:
        One row per face, best first; its last column is the number of passes that found it.
    """
    rest = raw[raw[:, 4] >= conf]
    rest = rest[np.argsort(-rest[:, 4], kind="stable")]
    merged = []
    while len(rest):
        iou = box_iou(rest[:1, :4], rest[:, :4])[0]
        areas = box_area(rest[:, :4])
        shared = iou / (1 + iou) * (areas[0] + areas)  # area of the intersection
        same = iou > 0.45
        same[0] = True
        box = np.average(rest[same, :4], axis=0, weights=rest[same, 4])
        merged.append([*box, rest[0, 4], len(set(rest[same, 5]))])
        # Also drop boxes that are a part of that face, or a frame around it.
        rest = rest[~(same | (shared > 0.75 * np.minimum(areas, areas[0])))]
    return np.asarray(merged, dtype=np.float32).reshape(-1, 6)
