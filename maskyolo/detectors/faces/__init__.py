"""Face detectors: an image in, face boxes out. They do not detect masks."""

from maskyolo.core.boxes import Boxes, as_boxes, box_area
from maskyolo.core.choices import CrossCheck, FaceDetectorName
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
