"""The door of the page, before Gradio sees a request: who it is that comes, and what nobody may bring in.

An ASGI layer given to `launch(app_kwargs={"middleware": [...]})`. It stands inside Gradio's sign-in, whose session it reads.
On a public page it holds these rules, which no handler could:

- a session belongs to the browser that began it: whoever else names it is turned away, with its state, events and results
- what a person uploaded is handed to nobody else, neither as a file nor as the input of an event
- bodies say how large they are, and are small, but for uploads, which are counted by person, in all and against the disk
- an event's data names no address to be fetched
- events are counted by person and in all
"""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote

from explorer.errors import UserError
from explorer.quotas import Disk, Quotas
from explorer.rights import Person, Rules
from explorer.ui import who

MAX_BODY = 1_000_000
"""Bytes of anything but an upload."""
MAX_PHOTO = 25_000_000
"""Bytes of what a visitor uploads: a photo."""
REMEMBERED = 200_000
UPLOAD = re.compile(r"/gradio_api/upload/?")
FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)
IN_PATH = re.compile(r"/gradio_api/(?:heartbeat|stream)/([^/]+)")
WEB = re.compile(r"\s*https?://", re.IGNORECASE)
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
EVENT = re.compile(r"/gradio_api/(?:queue/join|run/|api/|call/|mcp)")


class Refused(Exception):
    """A request that goes no further. ``status``: of HTTP; the sentence is the answer."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


class Gate:
    def __init__(self, app, rules: Rules, quotas: Quotas, disk: Disk, max_upload: int):
        self.app, self.rules, self.quotas, self.disk, self.max_upload = app, rules, quotas, disk, max_upload
        self.sessions: OrderedDict[str, str] = OrderedDict()  # session hash: whose it is
        self.uploads: OrderedDict[str, set[str]] = OrderedDict()  # path: who brought it

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope["person"] = person = who.of_scope(scope, self.rules)
        if not self.rules.public:
            return await self.app(scope, receive, send)
        if not person.visitor:
            send = _naming(send, self.rules.sign_in)
        try:
            receive = await self._let_in(scope, receive, person)
        except Refused as refused:
            return await _answer(send, refused)
        if UPLOAD.fullmatch(scope["path"]):
            send = self._noting_uploads(send, _holder(person))
        await self.app(scope, receive, send)

    async def _let_in(self, scope, receive, person: Person):
        """What the app is to read the body from. Raises Refused."""
        path, holder = scope["path"], _holder(person)
        self._check_file(path, holder)
        sessions = [*parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", ()), *IN_PATH.findall(path)]
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            self._check_sessions(sessions, holder)
            return receive
        size = self._check_size(scope, person)
        if UPLOAD.fullmatch(path):
            return receive
        body = await _read(receive, size)
        values = _json(body)
        self._check_sessions([*sessions, *_named(values, "session_hash")], holder)
        if EVENT.match(path):
            self._count("call", person)
            self._check_data(values, holder)
        return _replay(body, receive)

    def _check_size(self, scope, person: Person) -> int:
        """The bytes of the body, which must be said and not too many."""
        said = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), None)
        if said is None or not said.isdigit():
            raise Refused(411, "The request does not say how large it is: send it with a Content-Length.")
        upload, size = UPLOAD.fullmatch(scope["path"]), int(said)
        limit = (self.max_upload if self.rules.is_owner(person) else MAX_PHOTO) if upload else MAX_BODY
        if size > limit:
            raise Refused(413, f"That is {size / 1e6:,.1f} MB; at most {limit / 1e6:,.0f} MB are taken here: send less.")
        if upload:
            self._count("upload", person)
            self._count("upload bytes", person, size)
            self._told(507, lambda: self.disk.check(size))
        return size

    def _count(self, what: str, person: Person, amount: float = 1) -> None:
        self._told(429, lambda: self.quotas.take(what, person.key, amount))

    @staticmethod
    def _told(status: int, check) -> None:
        try:
            check()
        except UserError as error:
            raise Refused(status, str(error)) from None

    def _check_sessions(self, sessions: list, holder: str) -> None:
        for session in sessions:
            if isinstance(session, str) and self._remember(self.sessions, session, holder) != holder:
                raise Refused(403, "This session was begun by somebody else: reload the page for one of your own.")

    def _check_file(self, path: str, holder: str) -> None:
        found = FILE.match(path)
        if found and not self._is_theirs(found[1], holder):
            raise Refused(403, "This file was brought by somebody else.")

    def _is_theirs(self, path: str, holder: str) -> bool:
        owners = self.uploads.get(unquote(path)) or self.uploads.get(path)
        return owners is None or holder in owners

    def _check_data(self, values, holder: str) -> None:
        """An event's data brings files by the paths that uploads were given, never by addresses or by what others brought."""
        if any(WEB.match(text) for text in _texts(_named(values, "arguments"))):  # of an MCP tool, which would be fetched
            raise Refused(400, "This public page fetches nothing from elsewhere: upload the file itself.")
        for path in filter(lambda found: isinstance(found, str), _named(values, "path")):
            if ADDRESS.match(path):
                raise Refused(400, "This public page fetches nothing from elsewhere: upload the file itself.")
            if not self._is_theirs(path, holder):
                raise Refused(403, "This file was brought by somebody else.")

    def _noting_uploads(self, send, holder: str):
        body = b""

        async def noting(message):
            nonlocal body
            if message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    for path in _json(body) or ():
                        if isinstance(path, str):
                            self._remember(self.uploads, path, set()).add(holder)
            await send(message)

        return noting

    @staticmethod
    def _remember(known: OrderedDict, key: str, value):
        """``known[key]``, set to ``value`` when it is new; the oldest are forgotten."""
        found = known.setdefault(key, value)
        known.move_to_end(key)
        while len(known) > REMEMBERED:
            known.popitem(last=False)
        return found


def _holder(person: Person) -> str:
    """Whose a session or an upload is: the browser's, or for programs that keep no cookies the address's."""
    return f"{person.name}/{person.visitor or person.address}"


def _named(value, name: str) -> Iterator:
    """Every value called ``name``, however deep in ``value``."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if name in value:
                yield value[name]
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _texts(values: Iterator) -> Iterator[str]:
    """Every text within ``values``, however deep."""
    stack = list(values)
    while stack:
        value = stack.pop()
        stack.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if isinstance(value, str):
            yield value


def _json(body: bytes):
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


async def _read(receive, size: int) -> bytes:
    body = b""
    while len(body) <= size:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    return body


def _replay(body: bytes, receive):
    """A ``receive`` that gives ``body`` once, and then tells what the connection does: an answer may be a stream."""
    given = False

    async def again():
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send, refused: Refused) -> None:
    body = json.dumps({"detail": str(refused), "error": str(refused)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _naming(send, framed: bool):
    """``send`` with a new name for the browser. Within a Space's frame it is sent only if it says that it may be."""
    frame = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax"
    cookie = f"{who.COOKIE}={secrets.token_urlsafe(18)}; Path=/; HttpOnly; Max-Age=31536000; {frame}"

    async def sending(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
        await send(message)

    return sending
