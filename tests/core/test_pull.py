"""Public weights: shown, fetched whole or not at all, and never behind one's back."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diffseg.cli import main, output
from diffseg.errors import UserError
from diffseg.models import pulling
from diffseg.models.fetching import downloaded, remote_size
from diffseg.models.pulling import PublicFile, PublicWeights, iter_pull, size_of
from diffseg.progress import run

PAYLOAD = bytes(range(256)) * 8192  # two blocks
SHA = hashlib.sha256(PAYLOAD).hexdigest()


def _archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("inner/model.ckpt", PAYLOAD)
        packed.writestr("../outside.txt", b"no")
    return content.getvalue()


class _Hub(BaseHTTPRequestHandler):
    """Serves a file, an archive, a hub's redirect, and a server that breaks off."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        content = {"/model.safetensors": PAYLOAD, "/all.zip": _archive()}
        if self.path.startswith("/linked/"):
            self.send_response(302)
            self.send_header("Location", "/model.safetensors")
            tag = SHA if self.path.endswith("good") else "0" * 64
            self.send_header("X-Linked-Etag", f'"{tag}"')
            self.send_header("X-Linked-Size", str(len(PAYLOAD)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        broken = self.path == "/broken"
        found = PAYLOAD if broken else content.get(self.path)
        if found is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        if body:
            self.wfile.write(found[:1000] if broken else found)


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(
        target=functools.partial(server.serve_forever, poll_interval=0.02)
    )
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DIFFSEG_OFFLINE", raising=False)
    return tmp_path / "home"


def weights(*files: PublicFile) -> PublicWeights:
    return PublicWeights(
        name="mine",
        title="Mine",
        use="tests",
        source="here",
        licence="MIT",
        teacher="timm:mine",
        files=files,
    )


def in_catalogue(monkeypatch: pytest.MonkeyPatch, entry: PublicWeights) -> None:
    monkeypatch.setattr(pulling, "public_weights", lambda: (entry,))


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "weights").iterdir())


def test_the_catalogue_names_size_source_and_licence() -> None:
    known = {entry.name: entry for entry in pulling.public_weights()}
    assert {"kl-f8", "ldm-lsun-churches", "dinov2-vitb14-reg"} <= known.keys()
    for entry in known.values():
        assert entry.licence
        assert entry.source.startswith("https://")
        for file in entry.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(file.sha256) == 64
    archive = known["kl-f8"].files[0]
    assert (archive.arrives_as, archive.name) == ("kl-f8.zip", "model.ckpt")
    assert pulling.find_public("timm:vit_base_patch14_reg4_dinov2.lvd142m").files


def test_a_file_is_fetched_checked_and_written_down(hub: str, home: Path) -> None:
    entry = weights(PublicFile(url=f"{hub}/model.safetensors", sha256=SHA))
    assert size_of(entry) == len(PAYLOAD)
    seen = []
    folder = run(iter_pull(entry), seen.append)
    assert folder == home / "weights" / "mine" == entry.folder
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    receipt = json.loads((folder / "pulled.json").read_text())
    assert receipt["licence"] == "MIT"
    assert receipt["files"]["model.safetensors"] == {
        "url": f"{hub}/model.safetensors",
        "bytes": len(PAYLOAD),
        "sha256": SHA,
    }
    assert seen[-1].fraction == 1.0
    assert entry.here
    assert left(home) == ["mine"]
    with pytest.raises(UserError, match="here already"):
        run(iter_pull(entry))


def test_one_file_is_taken_out_of_an_archive(hub: str, home: Path) -> None:
    entry = weights(PublicFile(url=f"{hub}/all.zip", unpack="model.ckpt"))
    folder = run(iter_pull(entry))
    assert sorted(p.name for p in folder.iterdir()) == ["model.ckpt", "pulled.json"]
    assert (folder / "model.ckpt").read_bytes() == PAYLOAD
    assert not (home / "outside.txt").exists()


def test_a_hub_s_own_checksum_is_checked(hub: str, tmp_path: Path) -> None:
    assert remote_size(f"{hub}/linked/good") == len(PAYLOAD)
    arrival = run(downloaded(f"{hub}/linked/good", tmp_path / "a"))
    assert arrival.sha256 == SHA
    with pytest.raises(UserError, match="differs from the server's"):
        run(downloaded(f"{hub}/linked/bad", tmp_path / "b"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("broken", "broke off after 1000 of 2097152|cannot be fetched"),
        ("none", "cannot be fetched"),
    ],
)
def test_what_fails_leaves_nothing(
    hub: str, home: Path, path: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(iter_pull(weights(PublicFile(url=f"{hub}/{path}"))))
    assert left(home) == []


def test_a_wrong_checksum_and_no_archive_leave_nothing(hub: str, home: Path) -> None:
    url = f"{hub}/model.safetensors"
    for file, message in (
        (PublicFile(url=url, sha256="0" * 64), "differs from the catalogue's"),
        (PublicFile(url=url, unpack="model.ckpt"), "no whole zip archive"),
        (PublicFile(url=f"{hub}/all.zip", unpack="other"), "holds no other"),
        (PublicFile(url="ftp://here/file"), "not an address"),
    ):
        with pytest.raises(UserError, match=message):
            run(iter_pull(weights(file)))
    assert left(home) == []


def test_closing_the_generator_cancels_and_leaves_nothing(hub: str, home: Path) -> None:
    work = iter_pull(weights(PublicFile(url=f"{hub}/model.safetensors")))
    next(work)
    assert len(left(home)) == 1
    work.close()
    assert left(home) == []


def test_a_folder_takes_the_place_of_the_network(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_OFFLINE", "1")
    entry = weights(PublicFile(url="https://nowhere/all.zip", unpack="model.ckpt"))
    with pytest.raises(UserError, match="DIFFSEG_OFFLINE forbids"):
        run(iter_pull(entry))
    with pytest.raises(UserError, match=r"holds no all\.zip or model\.ckpt"):
        run(iter_pull(entry, tmp_path))
    (tmp_path / "model.ckpt").write_bytes(PAYLOAD)  # taken out beforehand
    assert size_of(entry, tmp_path) == len(PAYLOAD)
    folder = run(iter_pull(entry, tmp_path))
    assert (folder / "model.ckpt").read_bytes() == PAYLOAD
    assert left(home) == ["mine"]


def test_what_was_pulled_is_found_by_the_teacher_s_name(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = weights(PublicFile(url=f"{hub}/model.safetensors"))
    in_catalogue(monkeypatch, entry)
    assert pulling.pulled_folder("timm:mine") is None
    run(iter_pull(entry))
    assert pulling.pulled_folder("timm:mine") == entry.folder
    assert pulling.pulled_folder("timm:other") is None


# --- the command ---------------------------------------------------------------------


def test_the_command_shows_and_fetches(
    hub: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = weights(PublicFile(url=f"{hub}/model.safetensors"))
    in_catalogue(monkeypatch, entry)
    assert main(["models", "pull", "mine", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert not err
    for word in ("2.1 MB", "MIT", "none is published", "is here", str(entry.folder)):
        assert word in out
    assert main(["models", "pull", "mine", "--json"]) == 0  # here, so nobody is asked
    told = json.loads(capsys.readouterr().out)
    assert (told["pulled"], told["licence"]) == (False, "MIT")


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 130)])
def test_a_person_is_asked_first(
    hub: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    status: int,
) -> None:
    entry = weights(PublicFile(url=f"{hub}/model.safetensors"))
    in_catalogue(monkeypatch, entry)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["models", "pull", "mine"]) == status
    shown = capsys.readouterr().err
    assert shown.index("MIT") < shown.index("Fetch it? [y/N]")
    assert "2.1 MB" in shown
    assert entry.here == (status == 0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mine"], "nobody is here to be asked; agree beforehand (--yes)"),
        (["other", "--yes"], "public weights 'other' are not known; there are: mine"),
        (["mine", "--from", "nowhere"], "nowhere"),
    ],
)
def test_the_command_refuses_in_one_line(
    hub: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    in_catalogue(monkeypatch, weights(PublicFile(url=f"{hub}/model.safetensors")))
    assert main(["models", "pull", *args]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert err.count("\n") == 1


def test_offline_is_respected_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFSEG_OFFLINE", "1")
    assert main(["models", "pull", "kl-f8", "--yes"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "DIFFSEG_OFFLINE forbids the network" in err
    assert err.count("\n") == 1
