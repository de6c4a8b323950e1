"""`fetch` against a server on this machine: resuming, checking, replacing, and the steps for all else."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from naaflib.data.prepare import fetch as fetch_module
from naaflib.data.prepare.fetch import fetch
from naaflib.errors import NaafError, UsageError

CONTENT = bytes(range(251)) * 4099  # about 1 MB, no period that a wrong offset would hide


class Server(ThreadingHTTPServer):
    """Serves `content`; each number in `cuts` ends one answer after so many bytes. `seen` is the log."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = CONTENT, '"one"'
        self.cuts: list[int] = []
        self.ranges, self.shift = True, 0
        self.seen: list[tuple[str, str | None]] = []

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
        asked = self.headers.get("Range")
        server.seen.append((self.path, asked))
        if self.path == "/missing":
            return self.send_error(404)
        start = 0
        same = self.headers.get("If-Range") in (None, server.etag)
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").rstrip("-")) + server.shift
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        partial = start > 0 or server.shift
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        stop = start + server.cuts.pop(0) if server.cuts else None
        self.wfile.write(server.content[start:stop])
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
    monkeypatch.setattr(fetch_module, "PAUSE", 0.0)
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
    assert files(result.folder) == {"train_ims.npy"}  # no .part stays
    assert capsys.readouterr() == ("", "")


def test_a_file_that_is_there_and_right_is_not_fetched_again(project, server, tmp_path):
    fetch("toys", tmp_path / "here", progress=False)
    server.seen.clear()
    assert fetch("toys", tmp_path / "here", progress=False).outcomes == {"train_ims.npy": "present"}
    assert server.seen == []


def test_a_broken_connection_is_continued_where_it_broke(project, server, tmp_path):
    server.cuts = [400_000, 300_000]
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == [None, "bytes=400000-", "bytes=700000-"]


def interrupt(server, tmp_path, after=400_000):
    """A download that is given up after so many bytes."""
    server.cuts = [after, 0, 0, 0]
    with pytest.raises(NaafError, match="run the command again") as error:
        fetch("toys", tmp_path / "here", progress=False)
    assert f"{after:,} bytes" in str(error.value)
    assert files(tmp_path / "here") == {"train_ims.npy.part", "train_ims.npy.part.version"}
    server.cuts, server.seen = [], []


def test_an_interrupted_download_is_continued_by_the_next_command(project, server, tmp_path):
    interrupt(server, tmp_path)
    fetch("toys", tmp_path / "here", progress=False)
    assert [asked for _, asked in server.seen] == ["bytes=400000-"]
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT
    assert files(tmp_path / "here") == {"train_ims.npy"}


def test_a_part_that_was_already_whole_is_only_checked(project, server, tmp_path):
    interrupt(server, tmp_path)
    (tmp_path / "here" / "train_ims.npy.part").write_bytes(CONTENT)
    fetch("toys", tmp_path / "here", progress=False)
    assert [asked for _, asked in server.seen] == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_begun_anew(project, server, tmp_path):
    write_manifest(project, server, sha256="unknown")
    interrupt(server, tmp_path)
    (tmp_path / "here" / "train_ims.npy.part").write_bytes(CONTENT + b"more")
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT
    assert files(tmp_path / "here") == {"train_ims.npy"}


def test_an_answer_from_another_place_than_asked_is_taken_from_its_beginning(project, server, tmp_path):
    write_manifest(project, server, sha256="unknown")
    interrupt(server, tmp_path)
    server.shift = -400_000  # it answers 206 and sends the whole file
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_file_from_its_beginning(project, server, tmp_path):
    interrupt(server, tmp_path)
    server.ranges = False
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_patched_together(project, server, tmp_path):
    write_manifest(project, server, sha256="unknown")
    interrupt(server, tmp_path)
    server.content, server.etag = CONTENT[::-1], '"two"'
    fetch("toys", tmp_path / "here", progress=False)
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT[::-1]


def test_a_part_of_another_file_is_found_by_the_checksum_and_fetched_anew(project, server, tmp_path):
    server.etag = ""
    interrupt(server, tmp_path)
    (tmp_path / "here" / "train_ims.npy.part").write_bytes(b"x" * 400_000)
    fetch("toys", tmp_path / "here", progress=False)
    assert [asked for _, asked in server.seen] == ["bytes=400000-", None]
    assert (tmp_path / "here" / "train_ims.npy").read_bytes() == CONTENT


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
    server.cuts = [9, 0, 0, 0]
    with pytest.raises(NaafError, match="run the command again"):
        fetch("toys", tmp_path / "here", progress=False)
    assert old.read_bytes() == b"old"
    server.content, server.cuts = b"not the published file", []
    with pytest.raises(NaafError, match="another sha256"):
        fetch("toys", tmp_path / "here", progress=False)
    assert old.read_bytes() == b"old"
    assert files(tmp_path / "here") == {"train_ims.npy"}


def test_a_file_without_a_known_checksum_is_fetched_once_and_never_replaced(project, server, tmp_path):
    write_manifest(project, server, sha256="unknown")
    assert fetch("toys", tmp_path / "here", progress=False).outcomes == {"train_ims.npy": "downloaded"}
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
    with pytest.raises(NaafError, match="nothing could be downloaded"):
        fetch("toys", tmp_path / "here", progress=False)


def test_a_folder_that_cannot_be_made_is_one_sentence(project, server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NaafError, match="give another folder"):
        fetch("toys", tmp_path / "file" / "here", progress=False)


def test_a_full_disk_is_told_before_the_download(project, server, tmp_path, monkeypatch):
    class Usage:
        free = 10

    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(NaafError, match="make room"):
        fetch("toys", tmp_path / "here", progress=False)


def test_an_unknown_data_set_is_wrong_use(project):
    with pytest.raises(UsageError, match="did you mean 'toys'"):
        fetch("toy", progress=False)


def test_progress_goes_to_stderr_only(project, server, tmp_path, capsys):
    fetch("toys", tmp_path / "here", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "train_ims.npy" in err
