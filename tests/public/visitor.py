"""People in front of a public page, in plain HTTP: what a browser, a program or an attacker sends.

The page believes that it is a Space; a small identity provider on this machine stands in for the Hub's, so that signing in is
the real thing: a redirect, a code, a signed token.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "hf_" + "Secret" * 6
CLIENT_SECRET = "client-secret-" + "x" * 20
WAIT = 120


class Provider:
    """An OpenID provider whose code is the name of whoever signs in. ``hits``: what was asked of it, and of this port at all."""

    def __init__(self):
        from joserfc import jwk

        self.key = jwk.RSAKey.generate_key(2048, parameters={"kid": "k", "alg": "RS256", "use": "sig"})
        self.nonces: dict[str, str] = {}
        self.hits: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.answer(self, self.path)

            def do_POST(self):
                provider.answer(self, self.path, self.rfile.read(int(self.headers["content-length"])).decode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler, path: str, body: str = "") -> None:
        self.hits.append(path)
        a = self.address
        said = {
            "/.well-known/openid-configuration": lambda: {
                "issuer": a,
                "authorization_endpoint": f"{a}/authorize",
                "token_endpoint": f"{a}/token",
                "jwks_uri": f"{a}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/jwks": lambda: {"keys": [self.key.as_dict(private=False)]},
            "/token": lambda: self.token(parse_qs(body)["code"][0]),
        }.get(path, dict)()
        data = json.dumps(said).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def token(self, name: str) -> dict:
        from joserfc import jwt

        now = int(time.time())
        claims = {"iss": self.address, "sub": name, "aud": "client", "iat": now, "exp": now + 3600, "nonce": self.nonces[name]}
        claims |= {"name": name, "preferred_username": name, "profile": "", "picture": ""}
        signed = jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.key)
        return {"access_token": f"hf_oauth_{TOKEN}{name}", "token_type": "bearer", "expires_in": 3600, "id_token": signed}


def serve(home: Path, place: Path, provider: Provider):
    """(process, address, log file) of `python app.py` as a Space of ana's, which ben owns as well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "EXPLORER_HOME": str(home),
        "GRADIO_TEMP_DIR": str(place / "uploads"),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_ANALYTICS_ENABLED": "0",
        "GRADIO_SSR_MODE": "0",
        "SYSTEM": "spaces",
        "SPACE_ID": "ana/explorer",
        "SPACE_AUTHOR_NAME": "ana",
        "EXPLORER_OWNERS": "ben",
        "OAUTH_CLIENT_ID": "client",
        "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": provider.address,
        "HF_TOKEN": TOKEN,
    }
    log = place / "server.log"
    with open(log, "wb") as output:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=PROJECT, env=environment, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    for _ in range(4 * WAIT):
        try:
            httpx.get(address, timeout=5)
            return process, address, log
        except httpx.HTTPError:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    process.kill()
    raise RuntimeError(f"app.py did not answer: {log.read_text()[-2000:]}")


class Visitor:
    """One browser: its cookies, its session, and everything the server said to it."""

    count = 0

    def __init__(self, address: str, cookies: bool = True):
        Visitor.count += 1
        self.address, self.keeps = address, cookies
        self.came_from = f"93.184.{Visitor.count // 250}.{Visitor.count % 250 + 1}"
        self.cookies: dict[str, str] = {}
        self.session = secrets.token_hex(8)
        self.http = httpx.Client(timeout=WAIT)
        self.heard: list[str] = []
        self.config = self.get("/config").json()
        self.parts = {part["id"]: part for part in self.config["components"]}

    # -- requests

    def send(self, method: str, path: str, **more) -> httpx.Response:
        headers = {"x-forwarded-for": self.came_from, **more.pop("headers", {})}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = path if path.startswith("http") else self.address + path
        answer = self.http.request(method, url, headers=headers, **more)
        self.http.cookies.clear()
        if self.keeps:
            for line in answer.headers.get_list("set-cookie"):
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        self.heard.append(answer.text)
        return answer

    def get(self, path: str, **more) -> httpx.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, json=None, **more) -> httpx.Response:
        return self.send("POST", path, json=json, **more)

    def sign_in(self, provider: Provider, name: str) -> Visitor:
        away = self.get("/login/huggingface")
        asked = parse_qs(urlsplit(away.headers["location"]).query)
        provider.nonces[name] = asked["nonce"][0]
        back = self.get("/login/callback", params={"code": name, "state": asked["state"][0]})
        assert back.status_code in (302, 307), back.text
        return self

    def upload(self, name: str, data: bytes) -> str:
        answer = self.send("POST", "/gradio_api/upload", files={"files": (name, data)})
        assert answer.status_code == 200, answer.text
        return answer.json()[0]

    # -- events

    def part(self, elem_id: str) -> int:
        return next(number for number, part in self.parts.items() if part["props"].get("elem_id") == elem_id)

    def event(self, elem_id: str, kind: str) -> dict:
        """The endpoint that answers when something happens to a part of the page."""
        target = [self.part(elem_id), kind]
        return next(each for each in self.config["dependencies"] if target in [list(pair) for pair in each["targets"]])

    def data(self, endpoint: dict, **given) -> list:
        """What a page that was just opened sends, but for the parts named by their elem_id in ``given``."""
        named = {self.part(name.replace("_", "-")): value for name, value in given.items()}
        return [named.get(number, self.parts[number]["props"].get("value")) for number in endpoint["inputs"]]

    def join(self, endpoint: dict, data: list, event: dict | None = None, session: str | None = None) -> httpx.Response:
        body = {"data": data, "fn_index": endpoint["id"], "session_hash": session or self.session, "event_data": event}
        return self.post("/gradio_api/queue/join", json=body)

    def results(self, session: str | None = None) -> dict:
        """The first event of the session that has ended: its last message."""
        with self.http.stream(
            "GET",
            f"{self.address}/gradio_api/queue/data?session_hash={session or self.session}",
            headers={"x-forwarded-for": self.came_from, "cookie": "; ".join(f"{n}={v}" for n, v in self.cookies.items())},
        ) as stream:
            for line in stream.iter_lines():
                self.heard.append(line)
                if line.startswith("data:"):
                    message = json.loads(line[5:])
                    if message["msg"] in ("process_completed", "unexpected_error"):
                        return message
        raise RuntimeError("the stream ended without an answer")

    def does(self, elem_id: str, kind: str, event: dict | None = None, **given) -> tuple[bool, str]:
        """(whether it went well, everything that came back) after something happened to a part of the page."""
        endpoint = self.event(elem_id, kind)
        return self.does_by_index(endpoint, self.data(endpoint, **given), event)

    def does_by_index(self, endpoint: dict, data: list, event: dict | None = None) -> tuple[bool, str]:
        joined = self.join(endpoint, data, event)
        if joined.status_code != 200:
            return False, joined.text
        message = self.results()
        return bool(message.get("success")), json.dumps(message.get("output") or message, ensure_ascii=False)
