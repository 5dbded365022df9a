"""Create the certificate of a SuperLink, and of the CA that vouches for it; see docs/deployment.md.

Sites make their keys by themselves: `fedcrucible site request`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fedcrucible.engines.flower.keys import LOOPBACK, create_server_certificate


def main() -> None:
    """Create the files and print their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", nargs="+", default=LOOPBACK, help="names and addresses, as nodes dial them")
    parser.add_argument("--days", type=int, default=365, help="how long it is valid")
    wanted = parser.parse_args()
    server = create_server_certificate(wanted.folder, wanted.names, wanted.days)
    for path in (server.authority, server.certificate, server.key):
        print(path)


if __name__ == "__main__":
    main()
