"""Create what a deployment needs: CA and server certificate, or a SuperNode's key pair; see docs/deployment.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from fedcrucible.engines.flower.keys import LOOPBACK, create_node_key, create_server_certificate


def main() -> None:
    """Create the files and print their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=("server", "node"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", nargs="+", help="host names and addresses of the server, or names of nodes")
    parser.add_argument("--days", type=int, default=365, help="how long the server certificate is valid")
    wanted = parser.parse_args()
    if wanted.kind == "server":
        server = create_server_certificate(wanted.folder, wanted.names or LOOPBACK, wanted.days)
        paths = [server.authority, server.certificate, server.key]
    else:
        keys = [create_node_key(wanted.folder, name) for name in wanted.names or ["node-0"]]
        paths = [path for key in keys for path in (key.private, key.public)]
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
