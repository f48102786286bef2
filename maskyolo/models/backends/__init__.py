"""A network on a device: pixels in, tensor out; `maskyolo.detectors.yolo` knows about sizes and boxes."""

from maskyolo.core.choices import BackendName, Precision
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError, WeightsError
from maskyolo.models.trust import check_trust
