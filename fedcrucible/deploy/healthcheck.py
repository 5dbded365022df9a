"""Whether a SuperLink or a SuperNode answers; run in containers every half minute, so standard library only.

python -m fedcrucible.deploy.healthcheck https://127.0.0.1:8000/health /run/secrets/ca.crt
"""

from __future__ import annotations

import ssl
import sys
import urllib.request

LIMIT_S = 8.0


def healthy(url: str, authority: str = "") -> str:
    """Nothing when ``url`` answers with success, else why not; ``authority`` is a CA file for https."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # a proxy can't reach loopback
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=LIMIT_S) as answer:
            return "" if 200 <= answer.status < 300 else f"{url} answers with {answer.status}"
    except OSError as error:  # refused, timed out, wrong certificate, or an HTTP error
        return f"{url}: {error}"


def main(arguments: list[str]) -> int:
    """Exit code 0 for healthy, 1 with a line that says why not."""
    problem = healthy(*arguments)
    if problem:
        print(problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
