"""What strangers try on a public page, each against the running server."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import socket
import stat
import zipfile
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import pytest
from helpers_runs import example, make_images, make_run
from hostile import HOSTILE
from PIL import Image
from visitor import CLIENT_SECRET, TOKEN

FREE = ("cache/", "flags.db", "flags.csv", ".starting")
"""What everybody's looking and flagging may write: pictures made smaller, heat maps, exports, flags."""
ACTS = {
    "past-runs": ("delete", "restore", "begin"),
    "photos-kept": ("take-out", "put-back"),
    "flag-verdicts": ("approve", "remove", "status"),
    "import-diff": ("side",),
}
"""What is pressed in the pieces of HTML that change something; the rest are pressed once."""


def picture(side: int = 20, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def kept(home: Path) -> dict[str, bytes]:
    """Every file of the workspace that strangers may not touch, with its bytes."""
    files = ((path.relative_to(home).as_posix(), path) for path in home.rglob("*") if path.is_file())
    return {name: path.read_bytes() for name, path in files if not name.startswith(FREE)}


def file_of(path: str, name: str = "photo.png") -> dict:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def zip_of(members: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo("link.png")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, link)
    return buffer.getvalue()


def choose(visitor, image: str = "", column: str = "pets@1") -> None:
    """Open Compare on the run of the site, and choose a caption there."""
    endpoint = visitor.event("compare-runs", "change")
    visitor.does_by_index(endpoint, visitor.data(endpoint, compare_runs=["pets"]))
    visitor.does("comparison", "act", {"act": "choose", "image": image, "column": column}, compare_runs=["pets"])


def images_of(site) -> list[str]:
    return [json.loads(line)["image_id"] for line in (site.home / "pets" / "examples.jsonl").read_text().splitlines()]


# --- every endpoint ---------------------------------------------------------------------------------------


def test_no_endpoint_by_index_lets_a_stranger_change_anything_but_flags(site):
    before = kept(site.home)
    stranger = site.visitor()
    archive = file_of(stranger.upload("mine.zip", zip_of({"a.png": picture()})), "mine.zip")
    forged = {"upload": [archive], "source": "someone/photos", "relabel-name": "mine"}
    for endpoint in stranger.config["dependencies"]:
        if not endpoint["backend_fn"]:
            continue
        data = [
            forged.get(stranger.parts[number]["props"].get("elem_id"), stranger.parts[number]["props"].get("value"))
            for number in endpoint["inputs"]
        ]
        pressed = [stranger.parts[number]["props"].get("elem_id") for number, kind in endpoint["targets"] if kind == "act"]
        for act in ACTS.get(pressed[0], ("choose",)) if pressed else (None,):
            event = act and {"act": act, "run": "pets", "value": "g", "image": "x", "column": "pets@1", "base": "pets@1", "place": "0", "flag": "x"}
            stranger.session = secrets.token_hex(8)
            stranger.does_by_index(endpoint, data, event)
    assert kept(site.home) == before


OWNERS_ONLY = (
    ("start", "click", None),
    ("stop", "click", None),
    ("resume", "click", None),
    ("more-epochs", "click", None),
    ("past-runs", "act", {"act": "delete", "run": "pets"}),
    ("past-runs", "act", {"act": "restore", "run": "-"}),
    ("relabel-make", "click", None),
    ("relabel-start", "click", None),
    ("import-apply", "click", None),
    ("review-fill", "click", None),
    ("photos-kept", "act", {"act": "take-out", "value": "x"}),
)


@pytest.mark.parametrize(("elem_id", "kind", "event"), OWNERS_ONLY, ids=lambda value: str(value))
def test_a_stranger_is_told_what_to_do_instead(site, elem_id, kind, event):
    well, said = site.visitor().does(elem_id, kind, event)
    assert not well and "sign in as one of them" in said, said[:500]


@pytest.mark.parametrize(("elem_id", "kind", "event"), OWNERS_ONLY, ids=lambda value: str(value))
def test_calling_a_private_endpoint_by_its_name_opens_no_door(site, elem_id, kind, event):
    before, stranger = kept(site.home), site.visitor()
    endpoint = stranger.event(elem_id, kind)
    body = {"data": stranger.data(endpoint), "event_data": event}
    asked = stranger.post(f"/gradio_api/call/{endpoint['api_name']}", json=body)
    told = stranger.get(f"/gradio_api/call/{endpoint['api_name']}/{asked.json()['event_id']}").text if asked.status_code == 200 else ""
    assert "event: complete" not in told
    assert kept(site.home) == before


def test_no_endpoint_is_answered_outside_the_queue_and_its_limits(site):
    stranger = site.visitor()
    for endpoint in stranger.config["dependencies"]:
        if endpoint["backend_fn"] and endpoint["api_name"]:
            data = {"data": [None] * len(endpoint["inputs"])}
            assert stranger.post(f"/gradio_api/run/{endpoint['api_name']}", json=data).status_code >= 400


def test_somebody_signed_in_who_is_no_owner_starts_nothing(site):
    well, said = site.owner("mallory").does("start", "click")
    assert not well and "mallory can compare and flag here" in said


def test_an_owner_may_delete_and_bring_back(site):
    ana = site.owner()
    assert ana.does("past-runs", "act", {"act": "delete", "run": "pets"})[0]
    assert not (site.home / "pets").exists()
    assert ana.does("past-runs", "act", {"act": "restore", "run": "-"})[0]
    assert (site.home / "pets" / "run.json").exists()


def test_a_made_up_sign_in_is_none(site):
    forger = site.visitor()
    forger.cookies["session"] = "eyJvYXV0aF9pbmZvIjogeyJ1c2VyaW5mbyI6IHsicHJlZmVycmVkX3VzZXJuYW1lIjogImFuYSJ9fX0=.aaaa.bbbb"
    well, said = forger.does("start", "click")
    assert not well and "sign in" in said


# --- files of the server ----------------------------------------------------------------------------------


def test_no_path_leads_to_a_file_of_the_server(site):
    stranger = site.visitor()
    secret = site.home / "pets" / "run.json"
    targets = ["/etc/passwd", "/proc/self/environ", str(secret), "app.py"]
    ways = ["/gradio_api/file={}", "/gradio_api/file/{}", "/static/{}", "/assets/{}", "/svelte/{}"]
    up = "../" * 12
    for target in targets:
        spellings = {target, quote(target, safe=""), quote(up, safe="") + target.lstrip("/"), f"{site.place}/uploads/../home/pets/run.json"}
        for way in ways:
            for spelling in spellings:
                answer = stranger.get(way.format(spelling), follow_redirects=True)
                assert answer.status_code >= 400 or "<!doctype html>" in answer.text.lower(), (way, spelling, answer.text[:200])
    assert stranger.get("/monitoring/summary").status_code >= 400


@pytest.mark.parametrize("path", ["/etc/passwd", "{home}/pets/run.json", "{home}/datasets/secret-photos/train/red-square-0.png", "../../etc/passwd"])
def test_forged_file_data_opens_nothing(site, path):
    well, said = site.visitor().does("photo", "change", photo=file_of(path.format(home=site.home)))
    assert not well and "root:" not in said


def test_an_owner_imports_no_file_of_the_server_by_forged_file_data(site):
    before = sorted(path.name for path in (site.home / "datasets").iterdir())
    well, _ = site.owner().does("upload", "upload", upload=[file_of("/etc/passwd", "metadata.csv"), file_of(f"{site.home}/flags.csv")])
    assert not well and sorted(path.name for path in (site.home / "datasets").iterdir()) == before


def test_a_dataset_that_names_files_of_the_server_reads_none(site):
    names = ["/etc/passwd", "../../../../../../../etc/passwd", f"{site.home}/pets/images/x.png", "a.png"]
    rows = "".join(json.dumps({"file_name": name, "text": "a red square"}) + "\n" for name in names)
    ana = site.owner()
    brought = ana.upload("naming.zip", zip_of({"metadata.jsonl": rows.encode(), "a.png": picture(), "b.png": picture(22, "blue")}))
    assert ana.does("upload", "upload", upload=[file_of(brought, "naming.zip")])[0]
    made = site.home / "datasets" / "naming"
    assert sorted(path.name for path in made.iterdir()) == ["a.png", "b.png", "metadata.jsonl"]


@pytest.mark.parametrize("chosen", ["/etc", "{home}/datasets/secret-photos", "{home}/pets", "..", "someone/photos"])
def test_a_dataset_or_base_named_by_a_stranger_is_not_opened(site, chosen):
    stranger = site.visitor()
    endpoint = stranger.event("dataset", "change")
    _, said = stranger.does_by_index(endpoint, stranger.data(endpoint, dataset=chosen.format(home=site.home)))
    assert "images</dt>" not in said and "red square" not in said
    well, said = stranger.does("base", "change", base=chosen.format(home=site.home))
    assert "is advised" not in said


def test_an_owner_names_no_folder_of_the_server_either(site):
    ana = site.owner()
    for source in ("/etc", str(site.place / "pictures")):
        endpoint = ana.event("fetch", "click")
        data = ana.data(endpoint)
        well, said = ana.does_by_index(endpoint, [source, *data[1:]])
        assert not well and "not from a folder of the server" in said


def test_pickled_weights_are_never_opened(site):
    folder = site.place / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "blip"}')
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(site.place / "hacked").encode() + b"'\ntR.")
    ana = site.owner()
    well, said = ana.does("start", "click", base=str(folder))
    assert not well and "cannot be used on a public page" in said
    assert not (site.place / "hacked").exists()


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["http://{}/x.png", "HTTP://{}/x.png", " http://{}/x.png", "file:///etc/passwd", "ftp://{}/x", "data:image/png;base64,AA"])
def test_the_server_fetches_no_address(site, where):
    host = urlsplit(site.provider.address).netloc
    hits = len(site.provider.hits)
    stranger = site.visitor()
    well, said = stranger.does("photo", "change", photo=file_of(where.format(host)))
    assert not well and "fetches nothing from elsewhere" in said
    stranger.get(f"/gradio_api/proxy=http://{host}/x.png")
    stranger.get(f"/gradio_api/file=http://{host}/x.png")
    assert len(site.provider.hits) == hits


# --- archives and pictures --------------------------------------------------------------------------------


BAD_ZIPS = {
    "slip": lambda: zip_of({"../../slipped.png": picture()}),
    "absolute": lambda: zip_of({"/tmp/slipped.png": picture()}),
    "backslash": lambda: zip_of({"..\\slipped.png": picture()}),
    "link": lambda: zip_of({"a.png": picture()}, link="/etc/passwd"),
    "bomb": lambda: zip_of({"a.png": picture(), "bomb.csv": b"0" * 120_000_000}),
}


@pytest.mark.parametrize("kind", BAD_ZIPS)
def test_a_hostile_zip_leaves_nothing_behind(site, kind):
    before = kept(site.home)
    ana = site.owner()
    brought = ana.upload(f"{kind}.zip", BAD_ZIPS[kind]())
    well, said = ana.does("upload", "upload", upload=[file_of(brought, f"{kind}.zip")])
    assert not well and f"{kind}.zip" in said
    assert kept(site.home) == before and not list(site.place.rglob("slipped.png"))


def test_an_image_bomb_is_refused_before_it_fills_the_memory(site):
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    server = psutil.Process(site.pid)
    stranger = site.visitor()
    bomb = stranger.upload("bomb.png", buffer.getvalue())
    before = server.memory_info().rss
    well, said = stranger.does("photo", "change", photo=file_of(bomb, "bomb.png"))
    assert "million pixels" in said or not well
    assert server.memory_info().rss - before < 150e6


# --- texts ------------------------------------------------------------------------------------------------


def test_hostile_texts_of_flags_come_back_as_text(site):
    stranger = site.visitor()
    for image, text in zip(images_of(site), HOSTILE, strict=False):
        choose(stranger, image, "pets@2")
        well, said = stranger.does("flag-button", "click", correction=text, compare_runs=["pets"])
        assert well, said
    _, said = site.visitor().does("flags-redo", "click")
    for raw in ("<img src=x onerror", "<script>window", "<svg onload", "<style>*"):
        assert raw not in said


def test_a_formula_leaves_for_spreadsheets_as_text_and_otherwise_unchanged(site):
    stranger = site.visitor()
    formula = '=HYPERLINK("http://evil","x")'
    choose(stranger, images_of(site)[0], "pets@0")
    assert stranger.does("flag-button", "click", correction=formula, compare_runs=["pets"])[0]
    texts = {}
    for name in ("download-flags", "download-sheet"):
        well, said = stranger.does(name, "click")
        assert well, said
        path = json.loads(said)["data"][0]["path"]
        texts[name] = stranger.get(f"/gradio_api/file={path}").text
    assert "'=HYPERLINK" in texts["download-sheet"]
    assert "=HYPERLINK" in texts["download-flags"] and "'=HYPERLINK" not in texts["download-flags"]


def test_a_correction_as_long_as_a_book_is_refused(site):
    stranger = site.visitor()
    choose(stranger, images_of(site)[1], "pets@0")
    well, said = stranger.does("flag-button", "click", correction="x" * 5000, compare_runs=["pets"])
    assert not well and "2,000 characters" in said


# --- sessions and bodies ----------------------------------------------------------------------------------


def test_a_session_answers_only_the_browser_that_began_it(site):
    victim, thief = site.visitor(), site.visitor()
    choose(victim, images_of(site)[0])
    endpoint = thief.event("flag-button", "click")
    assert thief.join(endpoint, thief.data(endpoint), session=victim.session).status_code == 403
    session = f"session_hash={victim.session}"
    for way in (f"/gradio_api/queue/data?{session}", f"/gradio_api/deep_link?{session}", f"/gradio_api/heartbeat/{victim.session}"):
        assert thief.get(way).status_code == 403
    cancel = {"session_hash": victim.session, "fn_index": 1, "event_id": "x"}
    assert thief.post("/gradio_api/cancel", json=cancel).status_code == 403
    assert thief.post("/gradio_api/reset", json=cancel).status_code == 403
    assert site.visitor(cookies=False).join(endpoint, thief.data(endpoint), session=victim.session).status_code == 403
    assert victim.does("flags-redo", "click")[0]


def test_what_one_visitor_uploads_no_other_can_read(site):
    victim, thief = site.visitor(), site.visitor()
    path = victim.upload("private.png", picture(31, "purple"))
    assert victim.get(f"/gradio_api/file={path}").status_code == 200
    assert thief.get(f"/gradio_api/file={path}").status_code == 403
    assert thief.get(f"/gradio_api/file={quote(path, safe='')}").status_code >= 400
    assert thief.get(f"/gradio_api/file/{path}").status_code >= 400
    well, said = thief.does("photo", "change", photo=file_of(path))
    assert not well and "brought by somebody else" in said


def test_a_visitors_photo_is_captioned_and_left_nowhere_in_the_workspace(site):
    stranger, data = site.visitor(), picture(33, "teal")
    stranger.does("compare-runs", "change", compare_runs=["demo"])
    path = stranger.upload("myself.png", data)
    well, said = stranger.does("photo", "change", photo=file_of(path, "myself.png"), compare_runs=["demo"])
    assert well and "x-detail" in said, said[:500]
    identity = hashlib.sha256(data).hexdigest()[:16]
    assert not [found for found in site.home.rglob("*") if identity in found.name or (found.is_file() and data in found.read_bytes())]
    well, said = stranger.does("photo-keep", "click", compare_runs=["demo"])
    assert not well and "keeping photos" in said


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/call/flag", "/gradio_api/cancel", "/gradio_api/component_server", "/login"])
def test_an_oversize_body_is_refused_unread(site, path):
    answer = site.visitor().post(path, json={"data": ["x" * 1_200_000], "session_hash": "a", "fn_index": 0})
    assert answer.status_code == 413 and "at most 1 MB" in answer.json()["detail"]


def test_a_body_that_does_not_say_its_size_is_refused(site):
    answer = site.visitor().send("POST", "/gradio_api/upload", content=iter([b"x"] * 10))
    assert answer.status_code == 411


def test_a_visitors_upload_is_a_photo_in_size(site):
    host, port = urlsplit(site.address).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:  # 30 MB are announced and never sent
        raw.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 30000000\r\n\r\n".encode())
        assert b" 413 " in raw.recv(200)


def test_uploads_have_a_quota(site):
    stranger = site.visitor()
    answers = [stranger.send("POST", "/gradio_api/upload", files={"files": ("a.txt", b"a")}) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    assert "60 uploads an hour" in answers[-1].json()["detail"]
    assert site.visitor().upload("b.txt", b"b")


# --- flags ------------------------------------------------------------------------------------------------


def test_undo_takes_back_only_ones_own_last_change(site):
    first, second = site.visitor(), site.visitor()
    image, other = images_of(site)[2:4]
    choose(first, image, "pets@0")
    assert first.does("flag-button", "click", correction="first said this", compare_runs=["pets"])[0]
    choose(second, other, "pets@0")
    assert second.does("flag-button", "click", correction="second said this", compare_runs=["pets"])[0]
    _, said = first.does("flag-undo", "click", compare_runs=["pets"])
    assert "Undone" in said
    _, said = first.does("flag-undo", "click", compare_runs=["pets"])
    assert "nothing left to undo" in said
    flags = (site.home / "flags.csv").read_text()
    assert "second said this" in flags and "first said this" not in flags


def test_nobody_changes_the_flag_of_another_or_signs_as_another(site):
    first, second = site.visitor(), site.visitor()
    image = images_of(site)[4]
    choose(first, image, "pets@0")
    assert first.does("flag-button", "click", correction="mine", compare_runs=["pets"])[0]
    choose(second, image, "pets@0")
    well, said = second.does("flag-button", "click", correction="overwritten", flag_reviewer="ana", compare_runs=["pets"])
    assert not well and "flagged already" in said
    flags = (site.home / "flags.csv").read_text()
    assert "overwritten" not in flags and ",ana," not in flags


# --- private work -----------------------------------------------------------------------------------------


def test_what_an_owner_does_in_private_nobody_else_sees(site):
    ana, ben, stranger = site.owner("ana"), site.owner("ben"), site.visitor()
    assert ana.does("private", "click")[0]
    brought = ana.upload("grandmas-album.zip", zip_of({"kitchen.png": picture(), "kitchen.txt": b"grandmother in the kitchen"}))
    well, said = ana.does("upload", "upload", upload=[file_of(brought, "grandmas-album.zip")])
    assert well and "grandmas-album" in said
    folder = site.home / "people" / "ana" / "datasets" / "grandmas-album"
    assert (folder / "kitchen.png").exists()
    for other in (ben, stranger):
        _, offered = other.does("upload", "upload", upload=None)
        assert "grandmas-album" not in offered
        _, said = other.does("dataset", "change", dataset=str(folder))
        assert "grandmother" not in said and "kitchen" not in said
        assert other.get(f"/gradio_api/file={folder / 'kitchen.png'}").status_code >= 400
        assert "grandmas-album" not in other.get("/config").text
    assert ana.does("private", "click")[0]
    assert not site.visitor().does("private", "click")[0]


def test_runs_and_flags_of_a_private_room_are_its_owners_alone(site):
    pictures = make_images(site.place / "album", 3)
    room = site.home / "people" / "ana"
    make_run(room, [example(path, ["grandmother in the kitchen"]) for path in pictures], [["an old lady"] * 3] * 2, name="album-run")
    ana, ben = site.owner("ana"), site.owner("ben")
    assert ana.does("private", "click")[0]
    endpoint = ana.event("compare-runs", "change")
    well, said = ana.does_by_index(endpoint, ana.data(endpoint, compare_runs=["album-run"]))
    assert well and "an old lady" in said
    image = json.loads((room / "album-run" / "examples.jsonl").read_text().splitlines()[0])["image_id"]
    ana.does("comparison", "act", {"act": "choose", "image": image, "column": "album-run@0"}, compare_runs=["album-run"])
    assert ana.does("flag-button", "click", correction="aunt Rosa, not a lady", compare_runs=["album-run"])[0]
    assert "aunt Rosa" in (room / "flags.csv").read_text()
    assert not (site.home / "flags.csv").exists() or "aunt Rosa" not in (site.home / "flags.csv").read_text()
    for other in (ben, site.visitor()):
        _, said = other.does_by_index(endpoint, other.data(endpoint, compare_runs=["album-run"]))
        assert "an old lady" not in said
        path = json.loads(other.does("download-flags", "click")[1])["data"][0]["path"]
        assert "aunt Rosa" not in other.get(f"/gradio_api/file={path}").text
        assert "album-run" not in other.get("/config").text
    assert ana.does("private", "click")[0]


# --- secrets ----------------------------------------------------------------------------------------------


def test_no_secret_is_in_logs_files_or_answers(site):
    """Last of all: after everything above, and a push that fails."""
    ana = site.owner()
    endpoint = next(each for each in ana.config["dependencies"] if each["api_name"] and each["api_name"].startswith("push"))
    ana.does_by_index(endpoint, [None, "ana/photos"])
    secret = [TOKEN, CLIENT_SECRET]
    said = "\n".join(ana.heard)
    for text in secret:
        assert text not in site.log.read_text("utf-8", errors="replace")
        assert text not in said
        for root in (site.home, site.place / "uploads"):
            for path in root.rglob("*"):
                assert not path.is_file() or text.encode() not in path.read_bytes(), path
