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
    Pass,
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
#: The mask model's weight in the mean box of a face that it finds, too; a face below `_SETTLED` of
#: which it is certain gets its box alone. At this score and above, it confirms a face, and YuNet's
#: face then needs no further pass of SSD.
_MODEL_SHARE, _CONFIRMED = 0.5, 0.25
#: If its score for a face is below this, or the largest face is below this fraction of the photo's
#: side, the mask model also runs on the whole photo.
_CERTAIN, _SPACIOUS = 0.5, 0.6
#: An additional face found there needs at least this fraction of the largest face's side, and this
#: score, or else another detector must find it, too: SSD in any pass, or YuNet with this score.
_MIN_SIDE, _ALONE, _SECOND = 0.4, 0.5, 0.2
#: If it overlaps only faces that the mask model did not confirm or whose score is below this, it
#: replaces them, unless they overlap by more than the second value. If they are neither confirmed
#: nor reach `_DOUBTFUL`, this score of the mask model is enough.
_SETTLED, _ALIKE, _DOUBTFUL, _PROBABLE = 0.7, 0.6, 0.5, 0.25
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
        ssd = _RecordedSsd(self._ssd)
        any_score = self._yunet.detect_pass(image, WHOLE, min(_SECOND, self._yunet.conf))
        weak = any_score[any_score.scores >= min(_WEAK, self._yunet.conf)]
        yunet = weak[weak.scores >= self._yunet.conf]
        if len(yunet):
            faces = _near(ssd, image, yunet)
            if len(faces) < len(yunet) and not self._confirmed(image, faces, yunet):
                faces, yunet = self._more_passes(ssd, image, faces, yunet, weak)
        else:
            guess = (
                weak
                if len(weak)
                else self._yunet.detect_pass(image, _TIGHT, min(_WEAK, self._yunet.conf))
            )
            faces, yunet = _near(ssd, image, guess)[:1], guess
            if not len(faces):
                faces, yunet = self._more_passes(ssd, image, faces, Faces.none(), weak)
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
        found = self._checked(image, found, np.concatenate([ssd.boxes(), any_score.boxes]))
        return replace(found, doubtful=self._doubtful(image, found, weak, dropped))

    def _confirmed(self, image: ImageArray, faces: RawDetections, yunet: Faces) -> bool:
        """Return whether the mask model finds all of YuNet's faces that SSD (n, 6) misses."""
        alone = np.setdiff1d(np.arange(len(yunet)), _partners(faces, yunet.boxes))
        return self._model is not None and bool(
            (self._model.detect_near(image, yunet.boxes[alone])[:, 4] >= _CONFIRMED).all()
        )

    def _checked(self, image: ImageArray, found: Faces, others: Boxes) -> Faces:
        """Move boxes towards the mask model's, and add faces that it finds on the whole image.

        They count if it is confident, or if one of the boxes `others` (k, 4) shows them, too: all
        that SSD and YuNet detect, however weakly.
        """
        if self._model is None:
            return found
        height, width = image.shape[:2]
        seen = self._model.detect_near(image, found.boxes)
        here = seen[:, 4] > 0
        boxes = found.boxes.copy()
        sure = (found.scores < _SETTLED) & (seen[:, 4] >= _CERTAIN)
        share = np.where(sure, 1, _MODEL_SHARE).astype(np.float32)[here, None]
        boxes[here] += share * (clip_boxes(seen[here, :4], width, height) - boxes[here])
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
        places = clip_boxes(whole[:, :4], width, height)
        both = box_iou(places, clip_boxes(others, width, height)).max(axis=1, initial=0) > _SAME_IOU
        return _completed(
            faces,
            seen[:, 4] >= _CONFIRMED,
            Faces(places, whole[:, 4], (self._model.name,) * len(whole), both),
        )

    def _more_passes(
        self,
        ssd: _RecordedSsd,
        image: ImageArray,
        near: RawDetections,
        yunet: Faces,
        weak: Faces,
    ) -> tuple[RawDetections, Faces]:
        """Add the faces found by SSD's passes over the whole image.

        Returns:
            SSD's faces, and YuNet's faces to pair them with.
        """
        conf = self._ssd.conf
        raw = ssd.detect_raw(image, PASSES[:1])
        faces = _joined(near, merge_detections(raw, conf))
        partners = _partners(faces, yunet.boxes)
        alone = yunet.scores[np.setdiff1d(np.arange(len(yunet)), partners)]
        if len(faces) and len(yunet) and (alone >= _CONFIDENT).all() and (partners >= 0).all():
            return faces, yunet
        raw = np.concatenate([raw, ssd.detect_raw(image, PASSES[1:3])])
        faces = _joined(near, merge_detections(raw, conf))
        if len(faces):
            return faces, yunet
        return self._weak(image, np.concatenate([raw, ssd.detect_raw(image, PASSES[3:])]), weak)

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


class _RecordedSsd:
    """SSD's passes over one image, and all that they found."""

    def __init__(self, ssd: MultiPassSsd) -> None:
        self.conf = ssd.conf
        self._ssd = ssd
        self._found = [np.zeros((0, 6), dtype=np.float32)]

    def detect_near(self, image: ImageArray, regions: Boxes) -> RawDetections:
        """See `MultiPassSsd.detect_near`."""
        self._found.append(self._ssd.detect_near(image, regions))
        return self._found[-1]

    def detect_raw(self, image: ImageArray, passes: tuple[Pass, ...]) -> RawDetections:
        """See `MultiPassSsd.detect_raw`."""
        self._found.append(self._ssd.detect_raw(image, passes))
        return self._found[-1]

    def boxes(self) -> Boxes:
        """Return one box for each place where a pass found something, xyxy (n, 4)."""
        boxes: Boxes = merge_detections(np.concatenate(self._found))[:, :4]
        return boxes


def _near(ssd: _RecordedSsd, image: ImageArray, yunet: Faces) -> RawDetections:
    """Return SSD's merged faces in close-ups of YuNet's faces.

    Weak faces are included, unless they are small compared to the largest one.
    """
    faces = merge_detections(ssd.detect_near(image, yunet.boxes))
    sides = np.sqrt(box_area(faces[:, :4]))
    chosen: RawDetections = faces[
        (sides >= _SIZE * sides.max(initial=0)) | (faces[:, 4] >= ssd.conf)
    ]
    return chosen


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


def _completed(faces: Faces, confirmed: npt.NDArray[np.bool_], whole: Faces) -> Faces:
    """Add another detector's faces that are missing or that replace an uncertain one.

    Args:
        faces: the faces so far (n).
        confirmed: whether the other detector finds each of them in a close-up, too (n,).
        whole: the other detector's faces; `agreed` says whether a third one finds them, too.
    """
    confident = whole.scores >= _ALONE
    on = box_coverage(whole.boxes, faces.boxes) >= _APART
    sides = np.sqrt(box_area(faces.boxes))
    missing = (
        ~on.any(axis=1)
        & (confident | np.asarray(whole.agreed))
        & (np.sqrt(box_area(whole.boxes)) >= _MIN_SIDE * sides.max(initial=0))
    )
    settled = confirmed & (faces.scores >= _SETTLED)
    likely = confirmed | (faces.scores >= _DOUBTFUL)
    better = (
        (confident & ~(on & settled).any(axis=1))
        | ((whole.scores >= _PROBABLE) & ~(on & likely).any(axis=1))
    ) & on.any(axis=1)
    better &= box_iou(whole.boxes, faces.boxes).max(axis=1, initial=0) <= _ALIKE
    replaced = np.asarray(on[better].any(axis=0), dtype=np.bool_)
    return join_faces(faces[~replaced], whole[np.asarray(missing | better, dtype=np.bool_)])


def _mean(faces: Boxes, boxes: Boxes, partners: npt.NDArray[np.intp]) -> Boxes:
    """Return SSD's boxes (n, 4), moved towards the YuNet boxes (m, 4) that they are paired with."""
    both = partners >= 0
    result: Boxes = as_boxes(faces).copy()
    result[both] += _SHARE * (boxes[partners[both]] - result[both])
    return result


def _like_ssd(boxes: Boxes) -> Boxes:
    """Shift the sides of YuNet's boxes (n, 4) to where SSD would place them."""
    return as_boxes(boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * _TO_SSD)
