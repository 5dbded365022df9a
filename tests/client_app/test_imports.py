"""What a client's process loads: the rooms of the server's side, and what only they need, stay away."""

from __future__ import annotations

import subprocess
import sys

from fedcrucible_core.rooms import ROOT

SCRIPT = """
import sys
import client_app.app
print(*sorted(sys.modules), sep="\\n")
"""
AWAY = (
    "defenses",
    "server_app",
    "fedcrucible",
    "fedcrucible_core.foundation",
    "fedcrucible_core.records",
    "strategies.loop",
    "strategies.systems",
    "strategies.federation",
)
CACHE = {
    "fedcrucible_core.foundation",
    "fedcrucible_core.foundation.cache",
    "fedcrucible_core.foundation.base",
    "fedcrucible_core.foundation.alteration",
}
"""What a poisoner prepares is kept where the guide's answers are: the files' module, and the empty package above it.
Attacks on the server's data are declared with the contracts of sources, which load nothing either."""
HEAVY = {"matplotlib", "pandas", "scipy", "sklearn", "transformers", "opacus", "torchvision", "PIL", "ray"}


def test_importing_the_client_app_loads_what_a_client_needs_and_no_more() -> None:
    child = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = child.stdout.splitlines()
    wrong = [name for name in loaded if any(name == room or name.startswith(f"{room}.") for room in AWAY)]
    wrong = [name for name in wrong if name not in CACHE]
    assert wrong == []
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    assert "client_app.app" in loaded
    assert "torch" in loaded, "this is the child's list indeed"
