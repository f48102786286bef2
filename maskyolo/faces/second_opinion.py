"""The SSD with YuNet as second opinion, and our own detector as third: YuNet says where to look, and the ledger can say who saw each face.

The two make different mistakes: the SSD's boxes lie better, YuNet finds more faces. So YuNet looks first and the SSD where it sees faces;
the SSD's box counts, moved a little towards YuNet's, and YuNet's own where the SSD sees none. Further looks are added only where the two
disagree and maskyolo-n-folders does not see YuNet's face either. A box of a face that it sees, too, is moved halfway to its own. Where it
is unsure, or there is room for more, it looks at the whole photo, for what the others miss. The limits below were chosen on crops of the
676 street photos in kaggle853's train.txt; the figures in benchmarks/labels.md are of other photos.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, box_coverage, box_iou, clip_boxes
from maskyolo.faces import Faces, join_faces, leaves_room
from maskyolo.faces.ssd import AGREEING, LOOKS, Candidates, MultiPassSsd, merge_candidates
from maskyolo.faces.third_opinion import MaskModel
from maskyolo.faces.yunet import WHOLE, YuNet, YuNetPass
from maskyolo.images import ImageArray

__all__ = ["FaceEnsemble"]

#: YuNet's share in a box that both see: 0.3 finds the most faces at IoU 0.5 of 0, 0.3, 0.5, 0.7 and 1.
_SHARE = 0.3
#: From this overlap on the boxes of both are of one face.
_SAME_IOU = 0.35
#: Beside a face that both see, one that only one sees needs this score; ears, badges and printed faces have less.
_SURE = 0.7
#: Beside faces of the SSD's, one of YuNet's also needs this share of the side of the largest one (the far faces of passers-by are left
#: out), and less than this overlap with any. The SSD's weak faces need the same share where YuNet sees them.
_SIZE, _APART = 0.7, 0.3
#: Where neither is sure, a weak face of both counts; YuNet's from this score on, with a second look for faces that fill the picture.
_WEAK = 0.3
_TIGHT = YuNetPass(160, border=0.5)
#: Where there may be small faces beside those that are found, YuNet looks at the photo at its full size, up to this many pixels.
_FULL = 960
#: A weak face of the SSD's alone must fill this share of the picture: in tight crops of masks it is a face, elsewhere a badge or an ear.
_FILLS = 0.25
#: The third opinion's share in a box of which it sees the face too; and its score from which on it agrees, and a face of YuNet's needs no
#: further look of the SSD's.
_THIRD_SHARE, _CONFIRMED = 0.5, 0.25
#: Where it is less sure of a face than this, or the largest one is below this share of the photo's side, it looks at the whole photo.
_CERTAIN, _SPACIOUS = 0.5, 0.6
#: A face that it sees there beside the others needs this share of the side of the largest one; one on a face that it did not confirm takes
#: its place, unless they overlap by more than this.
_BESIDE, _ALIKE = 0.5, 0.6
#: What to add to the left, top, right and bottom side of YuNet's boxes, in widths and heights, so that they lie as the SSD's do: the
#: mean difference on 3,432 photos of a two-folder data set in which each finds one face.
_TO_SSD = (0.007, 0.021, -0.006, -0.011)


class FaceEnsemble:
    """The SSD's faces, checked and completed by YuNet, and by maskyolo-n-folders, which makes their boxes better, if it is a third opinion.

    YuNet looks at the photo, and the SSD at each face it sees, or else suspects. Where the SSD does not see them all, it looks at the
    photo once, and if they still disagree twice more; where it sees nothing, three times more, and the best weak face on which both,
    or else two looks of the SSD, agree counts.
    """

    def __init__(self, ssd: MultiPassSsd, yunet: YuNet, third: MaskModel | None = None) -> None:
        self.name = f"ssd+yunet+{third.name}" if third else "ssd+yunet"
        self._ssd = ssd
        self._yunet = yunet
        self._third = third

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3), boxes clipped to it, with `origins`, `agreed` and `doubtful`."""
        height, width = image.shape[:2]
        weak = self._yunet.look(image, WHOLE, min(_WEAK, self._yunet.conf))
        opinion = weak[weak.scores >= self._yunet.conf]
        if len(opinion):
            faces = self._seen_near(image, opinion)
            if len(faces) < len(opinion) and not self._confirmed(image, faces, opinion):
                faces, opinion = self._more_looks(image, faces, opinion, weak)
        else:
            guess = (
                weak if len(weak) else self._yunet.look(image, _TIGHT, min(_WEAK, self._yunet.conf))
            )
            faces, opinion = self._seen_near(image, guess)[:1], guess
            if not len(faces):
                faces, opinion = self._more_looks(image, faces, Faces.none(), weak)
        partners = _partners(faces, opinion.boxes)
        counts = (partners >= 0) | (faces[:, 4] >= _SURE) | (partners < 0).all()
        dropped, faces, partners = faces[~counts], faces[counts], partners[counts]
        boxes = clip_boxes(_mean(faces[:, :4], opinion.boxes, partners), width, height)
        further = _further(boxes, opinion, partners)
        found = Faces(
            np.concatenate([boxes, clip_boxes(_like_ssd(opinion.boxes[further]), width, height)]),
            np.concatenate([faces[:, 4], opinion.scores[further]]),
            origins=("ssd",) * len(boxes) + ("yunet",) * len(further),
            agreed=np.concatenate([partners >= 0, np.zeros(len(further), dtype=bool)]),
        )
        found = self._checked(image, found)
        return replace(found, doubtful=self._doubtful(image, found, weak, dropped))

    def _confirmed(self, image: ImageArray, faces: Candidates, opinion: Faces) -> bool:
        """Tell whether the third opinion sees all faces of YuNet's that are not among the SSD's (n, 6)."""
        alone = np.setdiff1d(np.arange(len(opinion)), _partners(faces, opinion.boxes))
        return self._third is not None and bool(
            (self._third.look_at(image, opinion.boxes[alone])[:, 4] >= _CONFIRMED).all()
        )

    def _checked(self, image: ImageArray, found: Faces) -> Faces:
        """Return the faces with their boxes moved towards the third opinion's, and those that it alone is sure of."""
        if self._third is None:
            return found
        height, width = image.shape[:2]
        seen = self._third.look_at(image, found.boxes)
        here = seen[:, 4] > 0
        boxes = found.boxes.copy()
        boxes[here] += _THIRD_SHARE * (clip_boxes(seen[here, :4], width, height) - boxes[here])
        origins = tuple(
            f"{origin}+{self._third.name}" if moved else origin
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
        looked = self._third.look(image)
        return _completed(
            faces,
            seen[:, 4] >= _CONFIRMED,
            clip_boxes(looked[:, :4], width, height),
            looked[:, 4],
            self._third.name,
        )

    def _seen_near(self, image: ImageArray, opinion: Faces) -> Candidates:
        """Return the faces that the SSD sees where YuNet does, merged; weak ones, too, but for those that are small beside the largest."""
        faces = merge_candidates(self._ssd.look_at(image, opinion.boxes))
        sides = np.sqrt(box_area(faces[:, :4]))
        chosen: Candidates = faces[
            (sides >= _SIZE * sides.max(initial=0)) | (faces[:, 4] >= self._ssd.conf)
        ]
        return chosen

    def _more_looks(
        self, image: ImageArray, near: Candidates, opinion: Faces, weak: Faces
    ) -> tuple[Candidates, Faces]:
        """Return the faces of the SSD's looks at the whole picture with those seen near, and YuNet's opinion on them."""
        conf = self._ssd.conf
        candidates = self._ssd.look(image, LOOKS[:1])
        faces = _joined(near, merge_candidates(candidates, conf))
        partners = _partners(faces, opinion.boxes)
        alone = opinion.scores[np.setdiff1d(np.arange(len(opinion)), partners)]
        if len(faces) and len(opinion) and (alone >= _SURE).all() and (partners >= 0).all():
            return faces, opinion
        candidates = np.concatenate([candidates, self._ssd.look(image, LOOKS[1:3])])
        faces = _joined(near, merge_candidates(candidates, conf))
        if len(faces):
            return faces, opinion
        return self._weak(
            image, np.concatenate([candidates, self._ssd.look(image, LOOKS[3:])]), weak
        )

    def _doubtful(self, image: ImageArray, found: Faces, weak: Faces, dropped: Candidates) -> Faces:
        """Return what the looks at a photo saw beside the faces that count; where there may be more YuNet looks at it in full size."""
        height, width = image.shape[:2]
        beside = _apart(weak, found.boxes)
        if len(found) and (len(beside) or leaves_room(found.boxes, width, height)):
            full = self._yunet.look(image, YuNetPass(min(_FULL, max(width, height))))
            beside = _apart(join_faces(full, _apart(beside, full.boxes)), found.boxes)
        boxes = np.concatenate([clip_boxes(dropped[:, :4], width, height), beside.boxes])
        origins = ("ssd",) * len(dropped) + ("yunet",) * len(beside)
        return Faces(boxes, np.concatenate([dropped[:, 4], beside.scores]), origins)

    def _weak(
        self, image: ImageArray, candidates: Candidates, weak: Faces
    ) -> tuple[Candidates, Faces]:
        """Return the sure faces of all looks, or else the best one that both detectors or two looks see; and YuNet's opinion on it."""
        merged = merge_candidates(candidates)
        opinion = weak[weak.scores >= self._yunet.conf]
        sure = merged[:, 4] >= self._ssd.conf
        if sure.any():
            return merged[sure], opinion
        for second in (opinion, weak, None):
            second = (
                second
                if second is not None
                else self._yunet.look(image, _TIGHT, min(_WEAK, self._yunet.conf))
            )
            agreed = _partners(merged, second.boxes) >= 0
            if agreed.any():
                return merged[agreed][:1], second
        if len(opinion):
            return merged[:0], opinion
        height, width = image.shape[:2]
        filling = box_area(merged[:, :4]) >= _FILLS * height * width
        return merged[filling & (merged[:, 5] >= AGREEING)][:1], opinion


def _partners(faces: Candidates, boxes: Boxes) -> npt.NDArray[np.intp]:
    """Pair each face (n, 6), best first, with the box (m, 4) that overlaps it most; return the boxes' places (n,), -1 for none."""
    iou = box_iou(faces[:, :4], boxes)
    partners = np.full(len(faces), -1, dtype=np.intp)
    for place, row in enumerate(iou):
        if row.size and row.max() > _SAME_IOU:
            partners[place] = row.argmax()
            iou[:, row.argmax()] = 0
    return partners


def _joined(near: Candidates, faces: Candidates) -> Candidates:
    """Return faces seen from near (n, 6), and those of looks at the picture (m, 6) that lie on none of them."""
    apart = box_coverage(faces[:, :4], near[:, :4]).max(axis=1, initial=0) < _APART
    both: Candidates = np.concatenate([near, faces[apart]])
    return both


def _further(boxes: Boxes, opinion: Faces, partners: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the places of YuNet's faces that count beside the SSD's `boxes` (n, 4)."""
    places = np.setdiff1d(np.arange(len(opinion)), partners)
    if not len(boxes):
        return places
    found = opinion.boxes[places]
    large = box_area(found) >= _SIZE**2 * box_area(boxes).max()
    apart = box_iou(found, boxes).max(axis=1) < _APART
    further: npt.NDArray[np.intp] = places[large & apart & (opinion.scores[places] >= _SURE)]
    return further


def _apart(faces: Faces, boxes: Boxes) -> Faces:
    """Return the faces that lie on none of the boxes (n, 4)."""
    return faces[box_coverage(faces.boxes, boxes).max(axis=1, initial=0) < _APART]


def _completed(
    faces: Faces,
    confirmed: npt.NDArray[np.bool_],
    boxes: Boxes,
    scores: npt.NDArray[np.float32],
    name: str,
) -> Faces:
    """Add to the faces (n), some of them `confirmed`, those of a detector's boxes (m, 4) that are missing, or replace what is not one."""
    on = box_coverage(boxes, faces.boxes) >= _APART
    missing = ~on.any(axis=1) & (
        np.sqrt(box_area(boxes)) >= _BESIDE * np.sqrt(box_area(faces.boxes)).max(initial=0)
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
    """Return the SSD's faces (n, 4), where YuNet has a partner moved towards its box (m, 4)."""
    both = partners >= 0
    result: Boxes = as_boxes(faces).copy()
    result[both] += _SHARE * (boxes[partners[both]] - result[both])
    return result


def _like_ssd(boxes: Boxes) -> Boxes:
    """Shift the sides of YuNet's boxes (n, 4) to where the SSD's are."""
    return as_boxes(boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * _TO_SSD)
