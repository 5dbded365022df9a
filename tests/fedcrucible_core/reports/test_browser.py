from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from fedcrucible_core.reports import Labelled, render_records, render_report

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--hide-scrollbars",
)  # fmt: skip


def browse(page: Path, scratch: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    """Open a page with a new profile and end the browser with all its processes."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine: the page was not opened in a browser")
    profile = scratch / f"profile-{page.stem}-{len(list(scratch.iterdir()))}"
    profile.mkdir()
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *extra, page.as_uri()]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


@pytest.mark.slow
def test_pages_open_without_console_errors(make_record, tmp_path: Path) -> None:
    folder = make_record(images=200)
    pages = [render_report(folder), render_records([Labelled(folder)], "One run", tmp_path / "comparison.html")]
    for page in pages:
        found = browse(page, tmp_path, "--dump-dom")
        assert "CONSOLE" not in found.stderr, found.stderr
        assert found.stdout.rstrip().endswith("</html>")
        assert "<svg" in found.stdout
        picture = tmp_path / f"{page.stem}.png"
        browse(page, tmp_path, "--window-size=1100,3000", f"--screenshot={picture}")
        assert picture.stat().st_size > 40_000
