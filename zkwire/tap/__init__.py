"""A proxy between clients and a server, which sees, and breaks, the frames that pass."""

from .tap import Tap as Tap
from .tap import When as When
from .tap import cut as cut
