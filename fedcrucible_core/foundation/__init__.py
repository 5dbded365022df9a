"""The guide (CLIP and kin) and the sources of the server's synthetic images.

Importing this package registers the sources; models and network clients are imported only when one is used.
"""

from fedcrucible_core.foundation import sources as sources
from fedcrucible_core.foundation.base import (
    SOURCES,
    Guide,
    GuideTargets,
    Provenance,
    Samples,
    ServerData,
    SyntheticSource,
)

__all__ = ["SOURCES", "Guide", "GuideTargets", "Provenance", "Samples", "ServerData", "SyntheticSource"]
