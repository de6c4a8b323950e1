"""Malicious input: nothing runs, leaves its folder, reaches a terminal raw, or comes unchecked in silence.

Each payload stands in payloads.py; tests/browser has the page of a batch in a real browser.
"""

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from payloads import CODES, FORMULAS, LEAVING, MARKUP
from PIL import Image
from synthetic_runs import write_group, write_history

from naaflib.batch.papermill_process import KernelMessages
from naaflib.batch.records import NotebookRecord, Record, read_record
from naaflib.batch.report import write_report
from naaflib.batch.tables import measures_table
from naaflib.cli import arguments, main
from naaflib.data.captions import read_picture_names
from naaflib.data.manifest import read_manifest
from naaflib.data.prepare.fetch import fetch
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.data.public.foils import FoilItem
from naaflib.data.public.pair_scores import read_pair_scores, write_pairs_to_score
from naaflib.display import Described
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import cluster, tls
from naaflib.evaluation.cluster import connect
from naaflib.files import leaves, write_json
from naaflib.messages import CONTROLS, progress_bar, say, visible
from naaflib.pages.keep import Warned, readable
from naaflib.runs import Run
from naaflib.search.index import Part
from naaflib.spreadsheets import SIGNS, marked, read_csv, unmarked, write_csv

# ---- markup


class Tags(HTMLParser):
    """The tags and attributes of a text, as a browser reads it."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, frozenset(name for name, _ in attributes)))


def assert_harmless(text):
    for tag, attributes in Tags(text).found:
        assert tag not in ("script", "svg", "body", "details", "img"), text
        assert not any(name.startswith("on") for name in attributes), text


@pytest.mark.parametrize("name", MARKUP)
def test_every_label_of_a_table_is_a_text(name):
    index = pd.Index([name, "b"], name=name)
    for table in (
        pd.DataFrame({name: [1.5, 2.0], "text": [name, "x"]}, index=index),
        pd.DataFrame({"text": [1.0, 2.0]}, index=pd.MultiIndex.from_tuples([(name, 0), (name, 1)])),
    ):
        if table.index.nlevels == 1:
            assert_harmless(readable(table).to_html())
            assert readable(table).to_html().count("&lt;" if "<" in name else "&quot;") >= 4
        assert_harmless(table.to_html())


@pytest.mark.parametrize("name", MARKUP)
def test_what_objects_say_of_themselves_in_a_notebook_is_a_text(name):
    class Known(Described):
        def facts(self):
            return {"run": name, name: name}

    assert_harmless(Known()._repr_html_())
    assert_harmless(Warned([name])._repr_html_())


def test_labels_that_are_not_escaped_are_noticed():
    with pytest.raises(AssertionError):
        assert_harmless(readable(pd.DataFrame({"a": [1]}, index=[MARKUP[0]])).format_index(None).to_html())


@pytest.mark.parametrize("name", MARKUP)
def test_the_report_escapes_folders_and_forbids_every_script(tmp_path, scenes, name):
    run = hostile_report(tmp_path / name, scenes)
    text = (run / "report.html").read_text()
    assert text.index("Content-Security-Policy") < text.index("<title>")
    assert "default-src &#39;none&#39;" in text
    assert "script-src" not in text  # default-src holds for it too
    assert_harmless(text.replace("<body>", ""))
    assert text.count("owned") >= 5  # title, head, results, verdicts


def hostile_report(run, scenes):
    """A batch's folder with two members that have not learnt, and a notebook without outputs."""
    import nbformat

    write_group(run, scenes, seeds=2)
    Run.create(run, "group")
    for member in sorted(run.glob("members/*")):
        write_history(member, rsum=13.0)
        ways = {"r": 1.0}
        names = ("at_1", "at_5", "at_10", "median_rank", "mean_rank")
        ways = dict.fromkeys(names, 1.0)
        about = {"split": run.name, "protocol": run.name, "rsum": 6.0, "members": [run.name]}
        write_json(member / "metrics" / "test.full.json", {**about, "i2t": ways, "t2i": ways})
    entry = NotebookRecord("05_x", "done", 1.0, file="notebooks/05_x.ipynb")
    (run / "notebooks").mkdir()
    cell = nbformat.v4.new_markdown_cell("# Some words")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), run / "notebooks" / "05_x.ipynb")
    write_report(Record(run, (entry,), ("05_x",)))
    return run


# ---- paths


@pytest.mark.parametrize("name", LEAVING)
def test_a_name_that_leaves_its_folder_is_refused_wherever_a_file_holds_it(tmp_path, name):
    assert leaves(name)
    place = json.dumps(name)
    for content in (
        f"name: x\nsplits: {{{place}: {{}}}}",
        f"name: {place}",
        f"name: x\nfiles: [{{path: {place}}}]",
        f"name: x\nfiles: [{{path: a.npy, split: {place}}}]",
        f"name: x\nfiles: [{{path: '{{split}}/a.npy'}}]\nsplits: {{{place}: {{}}}}",
    ):
        (tmp_path / "manifest.yaml").write_text(content)
        with pytest.raises(NaafError, match=r"manifest\.yaml: .*must be a (relative path|plain name)|YAML"):
            read_manifest(tmp_path / "manifest.yaml")
    (tmp_path / "test_image_names.txt").write_bytes(f"a.png\n{name}\n".encode())
    with pytest.raises(NaafError, match=r"test_image_names\.txt, line 2: .* leads out of images/"):
        read_picture_names(tmp_path / "test_image_names.txt")
    (tmp_path / "pipeline.json").write_text(
        json.dumps({"selected": ["x"], "notebooks": {"x": {"file": name}}})
    )
    with pytest.raises(NaafError, match="is not a record of a batch"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "val/a.png", "a..b.png", ".hidden/a.png", "c:d.png", "…/a.png"])
def test_a_name_below_the_folder_stays_allowed(name):
    assert not leaves(name)


@pytest.mark.parametrize("name", LEAVING[:4])
def test_an_index_s_names_stay_below_its_folders(tmp_path, name):
    about = {"data": "x", "split": "test", "captions_per_image": 5, "made_by": None}
    about |= {"features": {}, "captions": 1}
    write_json(tmp_path / "part.json", {**about, "files": {name: {"bytes": 1}}})
    with pytest.raises(NaafError, match="leads out of the folder"):
        Part.open(tmp_path / "part.json")
    write_json(tmp_path / "part.json", {**about, "files": {}})
    (tmp_path / "names.txt").write_text(f"a.png\n{name}\n")
    with pytest.raises(NaafError, match=r"leads out of images/"):
        _ = Part.open(tmp_path / "part.json").names


def test_an_import_takes_no_picture_from_outside_its_folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in (folder / "a.png", folder / "b.png", tmp_path / "secret.png"):
        Image.new("RGB", (7, 5), (len(place.name), 1, 2)).save(place)
    lines = [
        f"{name}\ta cat"
        for name in ("a.png", str(folder / "b.png"), "../secret.png", str(tmp_path / "secret.png"))
    ]
    (tmp_path / "captions.tsv").write_text("\n".join(["image\tcaption", *lines]))
    import_pictures(folder, tmp_path / "captions.tsv", tmp_path / "out", splits="50/50")
    stored = [path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
    assert sorted(path.name for path in stored) == ["a.png", "b.png"]
    assert "no picture" in (tmp_path / "out" / "left_out.csv").read_text()


# ---- terminals


@pytest.mark.parametrize("code", CODES)
def test_no_control_code_reaches_a_terminal(capsys, monkeypatch, code):
    class Known(Described):
        def facts(self):
            return {"run": code}

    say(f"a {code} b")
    arguments.warn([code])
    arguments.show(code)
    arguments.show_text(code)
    arguments.show_table(pd.DataFrame({"text": [code], code: [1.5]}, index=[code]))
    arguments.show_json({"text": code, code: 1})
    print(repr(Known()))
    assert main(["explain", code, "--data", code])
    assert main(["data", "fetch", code]) == 2
    out, err = capsys.readouterr()
    assert not CONTROLS.search(out + err)
    assert visible(code) in out
    assert visible(code) in err


@pytest.mark.parametrize("code", CODES)
def test_json_keeps_what_it_writes_out(capsys, code):
    arguments.show_json({code: code})
    assert json.loads(capsys.readouterr().out) == {code: code}


@pytest.mark.parametrize("code", CODES)
def test_a_bar_has_no_code_but_its_own(code):
    with progress_bar(range(3), desc=code) as bar:
        assert bar.desc.removesuffix(": ") == visible(code)


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("code", CODES)
def test_a_kernel_s_output_keeps_a_bar_s_codes_alone(code, is_terminal):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    messages = KernelMessages(stream)
    messages.write(f"a caption {code}\n")
    messages.write("\x1b[A 50%\r" if is_terminal else "")
    left = stream.getvalue().replace("\r", "").replace("\x1b[A", "")
    assert not CONTROLS.search(left)


def test_plain_texts_stay_as_they_are():
    text = "naïve\tΣ 漢字 \N{FAMILY}\u200d\N{GIRL} שלום\nb"
    assert visible(text) == text


# ---- spreadsheets


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula_and_all_are_read_back(tmp_path, text):
    table = pd.DataFrame({"text": [text, "a", None], text: [-1.5, 2.0, np.nan]}, index=[text, "r", "s"])
    write_csv(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell and cell[0] in SIGNS and cell != "-1.5"] == []
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", index_col=0), table, check_names=False)
    assert unmarked(marked(text)) == text


@pytest.mark.parametrize("cell", ["-1.5", "+3", "-1e-3", "a=b", "", "'tis", "cat", -4, 1.5, None])
def test_numbers_and_other_texts_get_no_mark(cell):
    assert marked(cell) == cell
    assert unmarked(cell) == cell


@pytest.mark.parametrize("text", FORMULAS)
def test_tables_of_ours_are_marked_and_read_back(tmp_path, text):
    run = Run.create(tmp_path / "run", "train")
    rows = {"measure": ["rsum"], "split": ["test"], "value": [1.0], "member": [text]}
    run.save_table(pd.DataFrame(rows), "03_results")
    assert measures_table(run.path)["member"].tolist() == [text]
    item = FoilItem("x", "swap", text.strip(), "1.jpg", text, "a dog", None)
    write_pairs_to_score(tmp_path / "pairs.csv", [item])
    filled = pd.read_csv(tmp_path / "pairs.csv", dtype=str).assign(score_caption="1", score_foil="0")
    assert filled["caption"][0].startswith("'")
    filled.to_csv(tmp_path / "filled.csv", index=False, quoting=csv.QUOTE_ALL)
    np.testing.assert_array_equal(read_pair_scores(tmp_path / "filled.csv", [item]), [[1, 0]])


# ---- downloads


def manifest_of(tmp_path, url, sha256=""):
    (tmp_path / "m.yaml").write_text(f"name: m\nfiles: [{{path: a.npy, url: '{url}'{sha256}}}]")
    return read_manifest(tmp_path / "m.yaml")


def test_an_unencrypted_download_without_a_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("it was asked for"))
    with pytest.raises(NaafError, match="not encrypted and the manifest has no sha256"):
        fetch(manifest_of(tmp_path, "http://data.example/a.npy"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "a.npy").exists()


def test_being_sent_on_to_an_unencrypted_address_is_refused(tmp_path, monkeypatch):
    class Answer:
        url = "http://elsewhere.example/a.npy"

    def get(url, hooks, **_):
        hooks["response"](Answer())
        pytest.fail("it was followed")

    monkeypatch.setattr("requests.get", get)
    with pytest.raises(NaafError, match=r"http://elsewhere\.example/a\.npy: the connection is not encrypted"):
        fetch(manifest_of(tmp_path, "https://data.example/a.npy"), tmp_path / "out", progress=False)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/a", "javascript:1", "//x/a"])
def test_another_scheme_is_no_address(tmp_path, url):
    with pytest.raises(NaafError, match="url"):
        manifest_of(tmp_path, url)


# ---- Dask


def pem(folder, name):
    """A self-signed certificate and its key, by openssl."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", *tls.SELF_SIGNED, "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A scheduler and a worker with certificates: address, certificate, key, and another pair."""
    folder = tmp_path_factory.mktemp("tls")
    (cert, key), other = pem(folder, "ours"), pem(folder, "other")
    address = f"tls://127.0.0.1:{free_port()}"
    files = (
        "--tls-ca-file",
        cert,
        "--tls-cert",
        cert,
        "--tls-key",
        key,
        "--host",
        "127.0.0.1",
        "--no-dashboard",
    )
    commands = (
        ("dask_scheduler", "--protocol", "tls", "--port", address.rpartition(":")[2]),
        ("dask_worker", address, "--no-nanny", "--nthreads", "1", "--local-directory", folder),
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command[0]}", *map(str, (*command[1:], *files))],
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        for command in commands
    ]
    yield address, cert, key, *other
    for process in reversed(started):
        process.kill()
        process.wait()


@needs_openssl
def test_certificates_open_a_scheduler_and_others_do_not(guarded):
    address, cert, key, other_cert, other_key = guarded
    with tls.certificates(address, cert, cert, key), connect(address, patience=60) as client:
        client.wait_for_workers(1, timeout=60)
        assert client.submit(sum, [5, 7]).result() == 12
    for authority in (cert, other_cert):
        files, what = (authority, other_cert, other_key), "are the certificates of its authority"
        with pytest.raises(NaafError, match=what), tls.certificates(address, *files):
            connect(address, patience=5)
    with pytest.raises(NaafError, match=r"is encrypted and no certificate is known; .*--tls-ca"):
        connect(address)
    with pytest.raises(NaafError, match=r"without TLS \(with it, it answers at tls:// alone\)"):
        connect(address.replace("tls", "tcp"), patience=2)


@needs_openssl
def test_certificates_that_cannot_be_used_are_one_sentence(tmp_path, guarded):
    address, cert, key, _, other_key = guarded
    (tmp_path / "not.pem").write_text("a caption")
    for files, what in (
        ((cert, cert, other_key), "not a certificate and its key in PEM"),
        ((cert, tmp_path / "not.pem", key), "not a certificate and its key in PEM"),
        ((cert, cert, tmp_path / "gone.key"), "is missing"),
    ):
        with pytest.raises(NaafError, match=what) as refused, tls.certificates(address, *files):
            connect(address)
        assert "\n" not in str(refused.value)
    for wrong in (
        (address, None, cert, key),
        (address, cert),
        ("tcp://127.0.0.1:1", cert, cert, key),
        (None, cert, cert),
    ):
        with pytest.raises(UsageError, match="--tls-ca"), tls.certificates(*wrong):
            pytest.fail("taken")


def test_a_scheduler_that_others_reach_without_certificates_is_said_once(capsys):
    tls.warn_of_open.cache_clear()
    for address in (
        "tcp://127.0.0.1:1",
        "tcp://localhost:1",
        "tcp://[::1]:1",
        "tls://10.0.0.5:1",
        "inproc://x",
    ):
        tls.warn_of_open(address, address)
    assert capsys.readouterr().err == ""
    for address in ("tcp://10.0.0.5:1", "tcp://node7:1", "ws://0.0.0.0:1", "tcp://[fe80::1]:1"):
        tls.warn_of_open("tcp://127.0.0.1:1", address)
        tls.warn_of_open("tcp://127.0.0.1:1", address)
        assert capsys.readouterr().err.count(f"warning: the scheduler at {address} listens beyond") == 1


def test_connecting_asks_who_else_may(monkeypatch, capsys):
    tls.warn_of_open.cache_clear()

    async def identity(*_):
        return {"type": "Scheduler", "address": "tcp://10.0.0.5:8786"}

    monkeypatch.setattr(cluster, "_identity", identity)
    monkeypatch.setattr("distributed.Client", lambda *_, **__: None)
    connect("tcp://127.0.0.1:8786")
    assert "tcp://10.0.0.5:8786 listens beyond this machine without TLS" in capsys.readouterr().err


@needs_openssl
@pytest.mark.filterwarnings("default")
def test_a_sweep_s_own_workers_let_nobody_else_in(monkeypatch):
    from naaflib.batch.sweep.cluster import open_cluster

    monkeypatch.setattr(tls, "find_spec", lambda _: None)  # as without cryptography
    with open_cluster(1, None, 1) as (client, _):
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert client.submit(os.getpid).result() != os.getpid()
        workers = client.scheduler_info()["workers"]
        assert all(worker.startswith("tls://127.0.0.1:") for worker in workers)
        with pytest.raises(NaafError, match="no scheduler answers"):
            connect(address.replace("tls", "tcp"), patience=2)


def test_without_anything_to_make_certificates_the_sweep_says_so(monkeypatch):
    monkeypatch.setattr(tls, "find_spec", lambda _: None)
    monkeypatch.setattr(tls.shutil, "which", lambda _: None)
    assert tls.temporary_security() is None
