"""The rooms of the house: the one list of the project's packages, and whether Python finds ours under those names.

Standard library only: the command reads this before it imports anything else.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APP = ("fedcrucible_core", "attacks", "defenses", "strategies", "client_app", "server_app")
"""What Flower's app bundle holds, ground floor first."""
ROOMS = (*APP, "fedcrucible")
"""All of the program's packages; the bundle does without the face."""
PACKAGES = (*ROOMS, "fedcrucible_assets")
"""What a wheel installs: the program, and the data and weights that ship."""
UNSHIPPED = ("studies", "tools", "tests")
"""What only a checkout has; types are checked there too."""
EXAMPLES = ("flower-app", "sklearn-app", "transformers-app")
"""Folders of ``examples/``, each an app of its own whose package has its name with an underscore."""
_COMMON = tuple(room for room in ROOMS if not room.startswith("fedcrucible"))
"""Rooms whose names are common words, as the layout of a Flower app asks for."""
_LANDMARKS = ("fedcrucible_core/rooms.py", "strategies/loop.py")


def intruder(root: Path = ROOT) -> str:
    """What stands in the way of a package of the project at ``root``, and what to do; empty when all are found."""
    for room in _COMMON:
        if (root / room / "__init__.py").is_file():
            found = _found(room)
            if found is not None and not _is_ours(found):
                shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(_named(found)))
                return f"{shown} is in the way of FedCrucible's own {room!r}: rename it, or {_advice(found)}"
    return ""


def require_own_rooms() -> None:
    """Raise ImportError that names the file in the way, before it causes an error that nobody understands."""
    problem = intruder()
    if problem:
        raise ImportError(problem)


def _found(room: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(room)
    except ValueError:  # a module that was put there without a spec
        origin = getattr(sys.modules[room], "__file__", None)
    else:
        origin = None if spec is None else spec.origin
    return None if origin is None else Path(origin).resolve()


def _is_ours(found: Path) -> bool:
    """Any copy of the project will do: Flower runs the app from an unpacked one."""
    return found.name == "__init__.py" and all((found.parent.parent / mark).is_file() for mark in _LANDMARKS)


def _named(found: Path) -> Path:
    return found.parent if found.name == "__init__.py" else found


def _advice(found: Path) -> str:
    folder = _named(found).parent
    here = Path.cwd().resolve()
    return "run from another folder" if folder == here else f"take {folder} off PYTHONPATH (or uninstall it there)"
