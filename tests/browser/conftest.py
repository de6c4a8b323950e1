"""JupyterLab on loopback with folders of its own, and a page of a headless Chromium on it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 180  # seconds; a busy machine may take a minute for what takes two seconds
SETTINGS = {  # no news, no virtual scrolling: every cell is in the page
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


@dataclass(frozen=True)
class Lab:
    """A running server."""

    address: str
    token: str
    folder: Path

    def url(self, path: str) -> str:
        return f"{self.address}/{path}?token={self.token}&reset"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path: what CHROMIUM names, else the first that is installed."""
    named = os.environ.get("CHROMIUM")
    found = named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip(
            "no Chromium is installed (Debian: apt-get install chromium; or name one: CHROMIUM=/path)"
        )
    return found


@pytest.fixture(scope="session")
def notebook(trained, scenes, tmp_path_factory) -> Path:
    """Notebook 05 with the tiny run as its parameters, in a folder of its own."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    node = load_notebook_node(str(ROOT / "notebooks" / "05_attention_maps.ipynb"))
    run = tmp_path_factory.mktemp("explored") / "run"
    shutil.copytree(trained.path, run)
    node = parameterize_notebook(node, {"run": str(run), "data": str(scenes), "pairs": "1"})
    path = tmp_path_factory.mktemp("lab") / "05_attention_maps.ipynb"
    nbformat.write(node, path)
    return path


@pytest.fixture(scope="session")
def lab(chromium, notebook, tmp_path_factory):
    """JupyterLab on a free port of 127.0.0.1, ended with the tests."""
    own, token = tmp_path_factory.mktemp("jupyter"), secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebook.parent}"),
        *(f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"),
    ]
    with (own / "lab.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment(own))
    try:
        wait_for_server(server, f"http://127.0.0.1:{port}/api?token={token}", own / "lab.log")
        yield Lab(f"http://127.0.0.1:{port}", token, notebook.parent)
    finally:
        server.terminate()
        server.wait(timeout=30)


def environment(own: Path) -> dict[str, str]:
    """No settings, workspaces or kernels of the person who runs the tests."""
    for name, content in SETTINGS.items():
        plugin, setting = name.rsplit("/", 1)
        path = own / "settings" / plugin / f"{setting}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    kernel = own / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    return {
        **os.environ,
        **{f"JUPYTER_{name}": str(own / folder) for name, folder in folders.items()},
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
        "JUPYTER_PATH": str(own),
        "IPYTHONDIR": str(own / "ipython"),
        "PYTHONPATH": str(ROOT),
        "NAAF_ROOT": str(ROOT),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def wait_for_server(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None, f"JupyterLab ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < end, f"JupyterLab does not answer: {log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)


@pytest.fixture(scope="session")
def page(chromium):
    """A page of a headless Chromium, as wide as a small laptop's window."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install -e '.[browser]'"
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()
