"""SSD, YuNet and maskyolo-n-folders combined: each face is cross-checked, at little extra cost.

SSD and YuNet make different mistakes: SSD's boxes are better placed, but YuNet finds more faces.
So YuNet runs first, then SSD on a close-up of each face found. The result is SSD's box, moved
slightly towards YuNet's, or YuNet's own box if SSD finds no face. More passes run only if the two
disagree and maskyolo-n-folders does not find YuNet's face either. The box of a face that
maskyolo-n-folders also finds is moved halfway to its own box. If maskyolo-n-folders is not
confident of a face, or there is room for more faces, it also runs on the whole photo, to find faces
that the others miss.

The thresholds below were chosen on crops of the 676 street photos in kaggle853's train.txt; the
figures in benchmarks/labels.md are for other photos.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_coverage, box_iou, clip_boxes
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import Faces, join_faces, leaves_room
from maskyolo.detectors.faces.mask_model import MaskModel
from maskyolo.detectors.faces.ssd import (
    AGREEING,
    PASSES,
    MultiPassSsd,
    RawDetections,
    merge_detections,
)
from maskyolo.detectors.faces.yunet import WHOLE, YuNet, YuNetPass

__all__ = ["FaceEnsemble"]

#: YuNet's weight in the mean box of a face that both find. Of 0, 0.3, 0.5, 0.7 and 1, 0.3 finds the
#: most faces at IoU 0.5.
_SHARE = 0.3
#: Minimum overlap (IoU) of two detectors' boxes of the same face.
_SAME_IOU = 0.35
#: If some faces are found by both, a face found by only one needs this score; ears, badges and
#: printed faces score lower.
_CONFIDENT = 0.7
#: In addition, a face that only YuNet finds needs at least this fraction of the largest SSD face's
#: side (to leave out distant passers-by), and less than this overlap with any SSD face. SSD's weak
#: faces need the same fraction if YuNet finds them, too.
_SIZE, _APART = 0.7, 0.3
#: If neither is confident, a weak face that both find counts. YuNet's needs at least this score; a
#: second pass looks for faces that fill the image.
_WEAK = 0.3
_TIGHT = YuNetPass(160, border=0.5)
#: If there may be small faces next to those found, YuNet gets the photo at its full size, up to
#: this many pixels.
_FULL = 960
#: A weak face that only SSD finds must fill at least this fraction of the image: in tight crops of
#: masks, it is a face; elsewhere, it is a badge or an ear.
_FILLS = 0.25
#: The mask model's weight in the mean box of a face that it finds, too. At this score and above, it
#: confirms a face, and YuNet's face then needs no further pass of SSD.
_MODEL_SHARE, _CONFIRMED = 0.5, 0.25
#: If its score for a face is below this, or the largest face is below this fraction of the photo's
#: side, the mask model also runs on the whole photo.
_CERTAIN, _SPACIOUS = 0.5, 0.6
#: An additional face found there needs at least this fraction of the largest face's side. If it
#: overlaps a face that the mask model did not confirm, it replaces that face, unless they overlap
#: by more than this.
_MIN_SIDE, _ALIKE = 0.5, 0.6
#: Offsets of the left, top, right and bottom of YuNet's boxes, in widths and heights, that place
#: them as SSD does: the mean difference on 3,432 photos of a two-folder data set in which both
#: find one face.
_TO_SSD = (0.007, 0.021, -0.006, -0.011)


class FaceEnsemble:
    """SSD's faces, checked and completed by YuNet and, if given, by the mask model.

    SSD runs on a close-up of each face that YuNet finds, or else suspects. If SSD does not find all
    of them, it runs on the whole photo, and twice more if the two still disagree. If SSD finds
    nothing at all, it runs three more times; then the best weak face counts that both detectors
    find, or else two passes of SSD.

    Args:
        ssd: finds the boxes.
        yunet: finds the faces.
        model: improves the boxes and finds missed faces.

    Attributes:
        name: names of the detectors, for the ledger, such as `ssd+yunet`.
    """

    def __init__(self, ssd: MultiPassSsd, yunet: YuNet, model: MaskModel | None = None) -> None:
        self.name = f"ssd+yunet+{model.name}" if model else "ssd+yunet"
        self._ssd = ssd
        self._yunet = yunet
        self._model = model

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), boxes clipped to it.

        `origins`, `agreed` and `doubtful` are set.
        """
        height, width = image.shape[:2]
        weak = self._yunet.detect_pass(image, WHOLE, min(_WEAK, self._yunet.conf))
        yunet = weak[weak.scores >= self._yunet.conf]
        if len(yunet):
            faces = self._near(image, yunet)
            if len(faces) < len(yunet) and not self._confirmed(image, faces, yunet):
                faces, yunet = self._more_passes(image, faces, yunet, weak)
        else:
            guess = (
                weak
                if len(weak)
                else self._yunet.detect_pass(image, _TIGHT, min(_WEAK, self._yunet.conf))
            )
            faces, yunet = self._near(image, guess)[:1], guess
            if not len(faces):
                faces, yunet = self._more_passes(image, faces, Faces.none(), weak)
        partners = _partners(faces, yunet.boxes)
        counts = (partners >= 0) | (faces[:, 4] >= _CONFIDENT) | (partners < 0).all()
        dropped, faces, partners = faces[~counts], faces[counts], partners[counts]
        boxes = clip_boxes(_mean(faces[:, :4], yunet.boxes, partners), width, height)
        further = _further(boxes, yunet, partners)
        found = Faces(
            np.concatenate([boxes, clip_boxes(_like_ssd(yunet.boxes[further]), width, height)]),
            np.concatenate([faces[:, 4], yunet.scores[further]]),
            origins=("ssd",) * len(boxes) + ("yunet",) * len(further),
            agreed=np.concatenate([partners >= 0, np.zeros(len(further), dtype=bool)]),
        )
        found = self._checked(image, found)
        return replace(found, doubtful=self._doubtful(image, found, weak, dropped))

    def _confirmed(self, image: ImageArray, faces: RawDetections, yunet: Faces) -> bool:
        """Return whether the mask model finds all of YuNet's faces that SSD (n, 6) misses."""
        alone = np.setdiff1d(np.arange(len(yunet)), _partners(faces, yunet.boxes))
        return self._model is not None and bool(
            (self._model.detect_near(image, yunet.boxes[alone])[:, 4] >= _CONFIRMED).all()
        )

    def _checked(self, image: ImageArray, found: Faces) -> Faces:
        """Move boxes towards the mask model's, and add faces that only it finds, if confident."""
        if self._model is None:
            return found
        height, width = image.shape[:2]
        seen = self._model.detect_near(image, found.boxes)
        here = seen[:, 4] > 0
        boxes = found.boxes.copy()
        boxes[here] += _MODEL_SHARE * (clip_boxes(seen[here, :4], width, height) - boxes[here])
        origins = tuple(
            f"{origin}+{self._model.name}" if moved else origin
            for origin, moved in zip(found.origins, here, strict=True)
        )
        faces = replace(
            found,
            boxes=boxes,
            origins=origins,
            agreed=np.asarray(found.agreed) | (seen[:, 4] >= _CONFIRMED),
        )
        if (seen[:, 4] >= _CERTAIN).all() and not leaves_room(boxes, width, height, _SPACIOUS):
            return faces
        whole = self._model.detect_all(image)
        return _completed(
            faces,
            seen[:, 4] >= _CONFIRMED,
            clip_boxes(whole[:, :4], width, height),
            whole[:, 4],
            self._model.name,
        )

    def _near(self, image: ImageArray, yunet: Faces) -> RawDetections:
        """Return SSD's merged faces in close-ups of YuNet's faces.

        Weak faces are included, unless they are small compared to the largest one.
        """
        faces = merge_detections(self._ssd.detect_near(image, yunet.boxes))
        sides = np.sqrt(box_area(faces[:, :4]))
        chosen: RawDetections = faces[
            (sides >= _SIZE * sides.max(initial=0)) | (faces[:, 4] >= self._ssd.conf)
        ]
        return chosen

    def _more_passes(
        self, image: ImageArray, near: RawDetections, yunet: Faces, weak: Faces
    ) -> tuple[RawDetections, Faces]:
        """Add the faces found by SSD's passes over the whole image.

        Returns:
            SSD's faces, and YuNet's faces to pair them with.
        """
        conf = self._ssd.conf
        raw = self._ssd.detect_raw(image, PASSES[:1])
        faces = _joined(near, merge_detections(raw, conf))
        partners = _partners(faces, yunet.boxes)
        alone = yunet.scores[np.setdiff1d(np.arange(len(yunet)), partners)]
        if len(faces) and len(yunet) and (alone >= _CONFIDENT).all() and (partners >= 0).all():
            return faces, yunet
        raw = np.concatenate([raw, self._ssd.detect_raw(image, PASSES[1:3])])
        faces = _joined(near, merge_detections(raw, conf))
        if len(faces):
            return faces, yunet
        return self._weak(
            image, np.concatenate([raw, self._ssd.detect_raw(image, PASSES[3:])]), weak
        )

    def _doubtful(
        self, image: ImageArray, found: Faces, weak: Faces, dropped: RawDetections
    ) -> Faces:
        """Return the detections that do not count as faces.

        If there may be more faces, YuNet runs once more, on the photo at its full size.
        """
        height, width = image.shape[:2]
        beside = _apart(weak, found.boxes)
        if len(found) and (len(beside) or leaves_room(found.boxes, width, height)):
            full = self._yunet.detect_pass(image, YuNetPass(min(_FULL, max(width, height))))
            beside = _apart(join_faces(full, _apart(beside, full.boxes)), found.boxes)
        boxes = np.concatenate([clip_boxes(dropped[:, :4], width, height), beside.boxes])
        origins = ("ssd",) * len(dropped) + ("yunet",) * len(beside)
        return Faces(boxes, np.concatenate([dropped[:, 4], beside.scores]), origins)

    def _weak(
        self, image: ImageArray, raw: RawDetections, weak: Faces
    ) -> tuple[RawDetections, Faces]:
        """Choose faces from all passes, including weak ones.

        Returns:
            The confident faces, or else the best one found by both detectors or by two passes of
            SSD; and YuNet's faces to pair them with.
        """
        merged = merge_detections(raw)
        yunet = weak[weak.scores >= self._yunet.conf]
        confident = merged[:, 4] >= self._ssd.conf
        if confident.any():
            return merged[confident], yunet
        for second in (yunet, weak, None):
            second = (
                second
                if second is not None
                else self._yunet.detect_pass(image, _TIGHT, min(_WEAK, self._yunet.conf))
            )
            agreed = _partners(merged, second.boxes) >= 0
            if agreed.any():
                return merged[agreed][:1], second
        if len(yunet):
            return merged[:0], yunet
        height, width = image.shape[:2]
        filling = box_area(merged[:, :4]) >= _FILLS * height * width
        return merged[filling & (merged[:, 5] >= AGREEING)][:1], yunet


def _partners(faces: RawDetections, boxes: Boxes) -> npt.NDArray[np.intp]:
    """Pair each face with the box that overlaps it most, if there is one.

    Args:
        faces: (n, 6), best first.
        boxes: xyxy (m, 4).

    Returns:
        The index of each face's box, or -1 (n,).
    """
    iou = box_iou(faces[:, :4], boxes)
    partners = np.full(len(faces), -1, dtype=np.intp)
    for place, row in enumerate(iou):
        if row.size and row.max() > _SAME_IOU:
            partners[place] = row.argmax()
            iou[:, row.argmax()] = 0
    return partners


def _joined(near: RawDetections, faces: RawDetections) -> RawDetections:
    """Join the faces in close-ups (n, 6), and those in passes (m, 6) that overlap none of these."""
    apart = box_coverage(faces[:, :4], near[:, :4]).max(axis=1, initial=0) < _APART
    both: RawDetections = np.concatenate([near, faces[apart]])
    return both


def _further(boxes: Boxes, yunet: Faces, partners: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the indices of YuNet's faces that count in addition to SSD's `boxes` (n, 4)."""
    places = np.setdiff1d(np.arange(len(yunet)), partners)
    if not len(boxes):
        return places
    found = yunet.boxes[places]
    large = box_area(found) >= _SIZE**2 * box_area(boxes).max()
    apart = box_iou(found, boxes).max(axis=1) < _APART
    further: npt.NDArray[np.intp] = places[large & apart & (yunet.scores[places] >= _CONFIDENT)]
    return further


def _apart(faces: Faces, boxes: Boxes) -> Faces:
    """Return the faces that overlap none of the boxes (n, 4)."""
    return faces[box_coverage(faces.boxes, boxes).max(axis=1, initial=0) < _APART]


def _completed(
    faces: Faces,
    confirmed: npt.NDArray[np.bool_],
    boxes: Boxes,
    scores: npt.NDArray[np.float32],
    name: str,
) -> Faces:
    """Add another detector's faces that are missing or that replace an unconfirmed one.

    Args:
        faces: the faces so far (n).
        confirmed: whether the other detector finds each of them, too (n,).
        boxes: the other detector's faces, xyxy (m, 4).
        scores: their scores (m,).
        name: the other detector's name.
    """
    on = box_coverage(boxes, faces.boxes) >= _APART
    missing = ~on.any(axis=1) & (
        np.sqrt(box_area(boxes)) >= _MIN_SIDE * np.sqrt(box_area(faces.boxes)).max(initial=0)
    )
    better = (
        on.any(axis=1)
        & ~(on & confirmed).any(axis=1)
        & (box_iou(boxes, faces.boxes).max(axis=1, initial=0) <= _ALIKE)
    )
    new = missing | better
    added = Faces(
        boxes[new], scores[new], (name,) * int(new.sum()), np.zeros(int(new.sum()), dtype=bool)
    )
    return join_faces(faces[~on[better].any(axis=0)], added)


def _mean(faces: Boxes, boxes: Boxes, partners: npt.NDArray[np.intp]) -> Boxes:
    """Return SSD's boxes (n, 4), moved towards the YuNet boxes (m, 4) that they are paired with."""
    both = partners >= 0
    result: Boxes = as_boxes(faces).copy()
    result[both] += _SHARE * (boxes[partners[both]] - result[both])
    return result


def _like_ssd(boxes: Boxes) -> Boxes:
    """Shift the sides of YuNet's boxes (n, 4) to where SSD would place them."""
    return as_boxes(boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * _TO_SSD)
