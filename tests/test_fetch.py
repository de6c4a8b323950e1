"""`fetch` against a server on this machine: trying again, checking, replacing; the steps for all else."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from naaflib.data.manifest import load
from naaflib.data.prepare.fetch import fetch
from naaflib.data.prepare.verify import verify
from naaflib.errors import NaafError, UsageError

CONTENT = bytes(range(251)) * 4099  # about 1 MB, no period that a wrong offset would hide


class Server(ThreadingHTTPServer):
    """Serves `content`; each number in `cuts` ends one answer after so many bytes. `seen` is the log."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.seen = CONTENT, [], []

    def handle_error(self, request, client_address):
        """A client that goes away early, as some tests make it, is no news."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.seen.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.cuts.pop(0) if server.cuts else None])
        return None


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """A project whose data set `toys` has one file at an address, and one without."""
    monkeypatch.setenv("NAAF_ROOT", str(tmp_path))
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)  # before it tries again
    (tmp_path / "data_manifests").mkdir()
    write_manifest(tmp_path, server)
    return tmp_path


def write_manifest(project, server, path="/toys.npy", sha256=None, extra=""):
    known = sha256 or hashlib.sha256(CONTENT).hexdigest()
    checksum = "" if known == "unknown" else f", sha256: {known}"
    (project / "data_manifests" / "toys.yaml").write_text(
        "name: toys\nsteps: ['ask the owner, then look into {folder}']\nfiles:\n"
        f"- {{path: train_ims.npy, url: '{server.address}{path}'{checksum}}}\n{extra}"
    )


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_whole_and_checked_into_the_projects_data_folder(project, server, capsys):
    result = fetch("toys", progress=False)
    assert result.folder == project / "data" / "toys"
    assert (result.folder / "train_ims.npy").read_bytes() == CONTENT
    assert result.outcomes == {"train_ims.npy": "downloaded"}
    assert result.steps == ""
    assert files(result.folder) == {"train_ims.npy"}  # and nothing beside it
    assert capsys.readouterr() == ("", "")


def test_a_file_that_is_there_and_right_is_not_fetched_again(project, server, tmp_path):
    fetch("toys", tmp_path / "here", progress=False)
    server.seen.clear()
    assert fetch("toys", tmp_path / "here", progress=False).outcomes == {"train_ims.npy": "present"}
    assert server.seen == []


@pytest.mark.parametrize("sha256", [None, "unknown"])
def test_a_broken_connection_is_tried_again_and_half_a_file_is_never_taken(project, server, tmp_path, sha256):
    write_manifest(project, server, sha256=sha256)
    server.cuts = [400_000, 0]
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT
    assert len(server.seen) == 3


@pytest.mark.parametrize("sha256", [None, "unknown"])
def test_a_download_that_is_given_up_leaves_nothing_and_the_next_command_gets_it(
    project, server, tmp_path, sha256
):
    write_manifest(project, server, sha256=sha256)
    server.cuts = [400_000, 0, 300_000]
    with pytest.raises(NaafError, match="then run the command again") as error:
        fetch("toys", tmp_path / "here", progress=False)
    assert server.address in str(error.value)
    assert files(tmp_path / "here") == set()
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT


def test_a_command_that_is_run_again_goes_on_with_the_files_that_are_missing(project, server, tmp_path):
    write_manifest(project, server, extra=f"- {{path: a/b.npy, url: '{server.address}/b.npy'}}\n")
    server.cuts = [len(CONTENT), 9, 9, 9]
    with pytest.raises(NaafError, match=r"/b\.npy: "):
        fetch("toys", tmp_path / "here", progress=False)
    server.seen.clear()
    outcomes = fetch("toys", tmp_path / "here", progress=False).outcomes
    assert outcomes == {"train_ims.npy": "present", "a/b.npy": "downloaded, unchecked"}
    assert server.seen == ["/b.npy"]
    assert (tmp_path / "here" / "a" / "b.npy").read_bytes() == CONTENT


def test_a_damaged_file_is_reported_and_replaced(project, server, tmp_path, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "train_ims.npy").write_bytes(CONTENT[:-1])
    result = fetch("toys", tmp_path / "here", progress=False)
    assert result.outcomes == {"train_ims.npy": "replaced"}
    assert "damaged" in capsys.readouterr().err
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT


def test_a_damaged_file_stays_while_the_new_one_is_not_whole_or_not_right(project, server, tmp_path):
    (tmp_path / "here").mkdir()
    old = tmp_path / "here" / "train_ims.npy"
    old.write_bytes(b"old")
    server.cuts = [9, 9, 9]
    with pytest.raises(NaafError, match="run the command again"):
        fetch("toys", tmp_path / "here", progress=False)
    assert old.read_bytes() == b"old"
    server.content = b"not the published file"
    with pytest.raises(NaafError, match="another sha256"):
        fetch("toys", tmp_path / "here", progress=False)
    assert old.read_bytes() == b"old"
    assert files(tmp_path / "here") == {"train_ims.npy"}


def test_a_file_without_a_known_checksum_is_fetched_once_and_never_replaced(project, server, tmp_path):
    write_manifest(project, server, sha256="unknown")
    assert fetch("toys", tmp_path / "here", progress=False).outcomes == {
        "train_ims.npy": "downloaded, unchecked"
    }
    (tmp_path / "here" / "train_ims.npy").write_bytes(b"mine")
    assert fetch("toys", tmp_path / "here", progress=False).outcomes == {
        "train_ims.npy": "present, unchecked"
    }
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == b"mine"


def test_what_has_no_address_is_explained_after_the_downloads(project, server, tmp_path):
    extra = "- {path: train_caps.txt, role: captions, required: true}\n"
    write_manifest(project, server, extra=extra)
    result = fetch("toys", tmp_path / "here", progress=False)
    assert result.outcomes == {"train_ims.npy": "downloaded"}
    assert f"look into {tmp_path / 'here'}" in result.steps
    assert result.steps in str(result)
    (tmp_path / "here" / "train_caps.txt").write_text("a caption\n")
    assert fetch("toys", tmp_path / "here", progress=False).steps == ""


def test_a_benchmark_is_fetched_checked_and_then_verified(project, server, tmp_path):
    server.content = b'{"0": {"caption": "a cat"}}\n'
    known = hashlib.sha256(server.content).hexdigest()
    (project / "data_manifests" / "foils.yaml").write_text(
        f"name: foils\nkind: benchmark\nfiles:\n"
        f"- {{path: a.json, required: true, url: '{server.address}/a.json', sha256: {known}}}\n"
    )
    folder = project / "data" / "foils"
    assert fetch("foils", progress=False).outcomes == {"a.json": "downloaded"}
    assert verify(folder).ok
    (folder / "a.json").write_bytes(server.content.replace(b"cat", b"dog"))
    assert verify(folder, quick=True).ok
    assert [check.what for check in verify(folder).failures] == ["sha256 of a.json"]
    server.content = b"<html>moved</html>"
    with pytest.raises(NaafError, match="another sha256"):
        fetch("foils", progress=False)
    assert b"dog" in (folder / "a.json").read_bytes()


def test_what_a_benchmark_has_no_address_for_is_explained(tmp_path):
    result = fetch(load("f30k_ids").model_copy(update={"files": load("f30k_ids").files[-1:]}), tmp_path)
    assert f"id_mapping.json {tmp_path}" in result.steps
    assert "id_mapping.json  required" in result.steps


@pytest.mark.parametrize("name", ["f30k_precomp", "coco_precomp", "flickr8k_precomp", "scenes"])
def test_a_data_set_without_addresses_gives_its_exact_steps_and_touches_nothing(tmp_path, name):
    result = fetch(name, tmp_path / name, progress=False)
    assert result.outcomes == {}
    assert "Steps:" in str(result)
    assert str(tmp_path / name) in result.steps
    assert list(tmp_path.iterdir()) == []


def test_a_missing_page_or_server_is_one_sentence(project, server, tmp_path):
    write_manifest(project, server, path="/missing")
    with pytest.raises(NaafError, match="404") as error:
        fetch("toys", tmp_path / "here", progress=False)
    assert server.address in str(error.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(NaafError, match="nothing whole could be downloaded"):
        fetch("toys", tmp_path / "here", progress=False)


def test_a_folder_that_cannot_be_made_is_one_sentence(project, server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NaafError, match="give another folder"):
        fetch("toys", tmp_path / "file" / "here", progress=False)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(project, server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    with pytest.raises(NaafError, match=r"No space left on device\); make room"):
        fetch("toys", tmp_path / "here", progress=False)
    assert files(tmp_path / "here") == set()


def test_an_unknown_data_set_is_wrong_use(project):
    with pytest.raises(UsageError, match="did you mean 'toys'"):
        fetch("toy", progress=False)


def test_progress_goes_to_stderr_only(project, server, tmp_path, capsys):
    fetch("toys", tmp_path / "here", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "train_ims.npy" in err
