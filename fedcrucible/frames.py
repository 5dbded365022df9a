"""Tables as pandas frames, for which pandas is needed and nothing else of the face is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible_core.config.extras import install_hint

if TYPE_CHECKING:
    import pandas as pd


def frame_of(rows: Iterable[Mapping[str, object]], index: str = "") -> pd.DataFrame:
    """One row per mapping. Raises ImportError where pandas isn't installed."""
    with _explained():
        import pandas as pd
    frame = pd.DataFrame([dict(row) for row in rows])
    return frame.set_index(index) if index and len(frame) else frame


def frame_from(path: Path) -> pd.DataFrame:
    """A Parquet file as a frame. Raises ImportError where pandas or pyarrow isn't installed."""
    with _explained():
        import pandas as pd

        return pd.read_parquet(path, engine="pyarrow")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error.name or 'pandas'} is missing: a table {install_hint('cli')}") from error
