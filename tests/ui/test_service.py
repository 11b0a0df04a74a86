"""The named endpoints, asked by the real client of the running server, and the same as MCP tools where the extra is installed.

python -m pytest tests/ui/test_service.py
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from explorer import server
from explorer.flag.flags import FlagStore
from explorer.settings import SHIPPED
from explorer.train.run import Run
from explorer.ui import service
from explorer.workspace import Workspace

PHOTO = sorted((SHIPPED / "demo" / "images").iterdir())[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("service") / "home"


@pytest.fixture(scope="module")
def address(home):
    with server.served(SHIPPED.parent, home) as where:
        yield where


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


@pytest.fixture(scope="module")
def first(client) -> dict:
    """The first row of the demo's comparison."""
    return client.predict(["demo"], api_name="/read_comparison")["rows"][0]


def test_four_endpoints_are_named_and_no_other(client):
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        *("/list_runs", "/read_comparison", "/add_flag", "/caption_image")
    }


def test_list_runs_tells_every_run_with_its_scores(client):
    (row,) = client.predict(api_name="/list_runs")
    demo = Run(SHIPPED / "demo")
    assert (row["name"], row["state"], row["base"], row["epochs"]) == ("demo", "finished", "blip-mini", [1, 2, 3])
    logged = {line["epoch"]: line["scores"]["CIDEr"] for line in demo.log() if line["kind"] == "epoch"}
    assert {score["epoch"]: score["CIDEr"] for score in row["scores"]} == logged
    assert all(score["references"] == 5 for score in row["scores"])


def test_read_comparison_gives_what_the_page_shows(client, first):
    whole = client.predict(["demo"], api_name="/read_comparison")
    assert [column["label"] for column in whole["columns"]] == ["base", "epoch 1", "epoch 2", "epoch 3"]
    assert (whole["images"], whole["pages"], len(whole["rows"])) == (100, 9, 12)
    kept = {row["image_id"]: row for row in Run(SHIPPED / "demo").examples("validation")}
    assert first["references"] == kept[first["image_id"]]["references"]
    assert set(first["captions"]) == {"demo@0", "demo@1", "demo@2", "demo@3"}
    found = client.predict(["demo"], "ball", ["changed"], "file name", 1, api_name="/read_comparison")
    assert found["page"] == 1 and 12 < found["images"] < 100
    said = [" ".join([*row["references"], *row["captions"].values(), row["file"]]) for row in found["rows"]]
    assert all("ball" in text for text in said)
    assert [row["file"] for row in found["rows"]] == sorted(row["file"] for row in found["rows"])


def test_a_flag_added_is_in_the_store_and_added_again_it_is_updated(client, first, home):
    added = client.predict("demo", 3, first["image_id"], "wrong attribute", "a white cat", reviewer="ada", api_name="/add_flag")
    assert added["caption"] == first["captions"]["demo@3"] and added["checkpoint"] == "epoch-3"
    again = client.predict("demo", 3, first["image_id"], "grammar", api_name="/add_flag")
    assert again["flag_id"] == added["flag_id"] and again["created"] == added["created"]
    (kept,) = FlagStore(Workspace(home)).list()
    assert kept.row() == again


def test_an_image_is_captioned_by_every_column(client):
    said = client.predict(handle_file(str(PHOTO)), "demo", api_name="/caption_image")
    assert list(said) == ["demo@0", "demo@1", "demo@2", "demo@3"]
    kept = {row["file"].split("/")[-1]: row["image_id"] for row in Run(SHIPPED / "demo").examples("validation")}
    if PHOTO.name in kept:
        known = client.predict(["demo"], PHOTO.name, api_name="/read_comparison")["rows"][0]["captions"]
        assert said == known
    assert all(text.startswith("a ") for text in said.values())


@pytest.mark.parametrize(
    ("endpoint", "values", "told"),
    [
        ("/read_comparison", (["nope"],), "There is no run 'nope': list_runs tells which there are."),
        ("/read_comparison", ("demo",), "No run is named"),
        ("/read_comparison", (["../../etc"],), "There is no run '../../etc'"),
        ("/read_comparison", (["demo"], "", ["odd"]), "The filter 'odd' is not known"),
        ("/read_comparison", (["demo"], "", [], "best first"), "The order 'best first' is not known"),
        ("/read_comparison", (["demo"], "", [], "file name", -1), "whole number from 0"),
        ("/add_flag", ("demo", 9, "x", "other"), "has no caption of image 'x' at epoch 9"),
        ("/add_flag", ("demo", "3", "x", "other"), "has no caption"),
        ("/add_flag", ("demo", 3, "x", 7), "The reason is 7: give a text."),
        ("/caption_image", (None, "demo"), "No image came"),
        ("/caption_image", (handle_file(str(PHOTO)), "nope"), "There is no run 'nope'"),
    ],
)
def test_what_a_caller_gets_wrong_is_told_in_a_sentence(client, endpoint, values, told):
    with pytest.raises(AppError) as error:
        client.predict(*values, api_name=endpoint)
    assert told in str(error.value)


def test_an_unknown_reason_is_refused_as_on_the_page_and_nothing_is_kept(client, first, home):
    before = FlagStore(Workspace(home)).list()
    with pytest.raises(AppError, match="The reason 'odd' is not known"):
        client.predict("demo", 1, first["image_id"], "odd", api_name="/add_flag")
    assert FlagStore(Workspace(home)).list() == before


def test_a_server_file_named_as_an_image_is_not_opened(client, address):
    """The client would upload it; the bare protocol names the path as if it had been."""
    body = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "demo"]}
    request = urllib.request.Request(
        f"{address}/gradio_api/call/caption_image", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    event = json.load(urllib.request.urlopen(request, timeout=60))["event_id"]
    told = urllib.request.urlopen(f"{address}/gradio_api/call/caption_image/{event}", timeout=60).read().decode()
    assert "event: error" in told and "root:" not in told


needs_mcp = pytest.mark.skipif(not service.mcp_is_installed(), reason="gradio[mcp] is not installed: MCP tools are not tested")


@needs_mcp
def test_the_endpoints_are_mcp_tools_described_by_their_docstrings(address):
    tools = {tool["name"]: tool for tool in json.load(urllib.request.urlopen(f"{address}/gradio_api/mcp/schema", timeout=60))}
    assert set(tools) == {"list_runs", "read_comparison", "add_flag", "caption_image"}
    assert tools["add_flag"]["description"].startswith("Flag a caption as bad")
    assert "wrong attribute" in tools["add_flag"]["inputSchema"]["properties"]["reason"]["description"]
    assert tools["caption_image"]["inputSchema"]["required"] == ["image", "run"]


@needs_mcp
def test_an_mcp_client_lists_the_runs(address):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def ask():
        async with streamablehttp_client(f"{address}/gradio_api/mcp/") as (reading, writing, _), ClientSession(reading, writing) as session:
            await session.initialize()
            return await session.call_tool("list_runs", {})

    answer = asyncio.run(ask())
    assert not answer.isError and "'name': 'demo'" in answer.content[0].text
