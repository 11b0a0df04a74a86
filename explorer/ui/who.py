"""Who sent the request a handler is answering, as `explorer.rights` knows people.

`gate.Gate` names the person of every request at the door; handlers find them here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from http.cookies import CookieError, SimpleCookie

from gradio.context import LocalContext

from explorer.rights import NOBODY, Person, Rules

COOKIE = "explorer-visitor"
SALT = secrets.token_bytes(16)


def person() -> Person:
    """Whoever sent the request that is being answered; `NOBODY` when there is none."""
    request = getattr(LocalContext.request.get(None), "request", None)
    return request.scope.get("person", NOBODY) if request is not None else NOBODY


def of_scope(scope: dict, rules: Rules) -> Person:
    """The person of an ASGI request. Off a Space a sign-in would be the host's own token for everybody: it is not looked at."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
    address = _address(headers.get("x-forwarded-for", ""), (scope.get("client") or ("",))[0])
    return Person(_signed_in(scope.get("session") or {}) if rules.sign_in else "", _digest(_cookie(headers)), hidden(address))


def hidden(address: str) -> str:
    """An address as something to count by that tells nobody what it was, and is another after a restart."""
    return _digest(address, SALT)


def _digest(text: str, key: bytes = b"") -> str:
    """A browser's name is long and random, so its digest tells nothing; it is the same after a restart."""
    return hashlib.blake2b(text.encode(), key=key, digest_size=12).hexdigest() if text else ""


def _signed_in(session: dict) -> str:
    info = session.get("oauth_info") or {}
    expires = info.get("expires_at")
    if expires is not None and expires < time.time():
        return ""
    return (info.get("userinfo") or {}).get("preferred_username") or ""


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _address(forwarded: str, client: str) -> str:
    """Where a request comes from: the last public address that a proxy noted, as those before it may be made up."""
    for text in reversed(forwarded.split(",")):
        try:
            if ipaddress.ip_address(text.strip()).is_global:
                return text.strip()
        except ValueError:
            continue
    return client
