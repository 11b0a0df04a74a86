"""The Hub's own client, its errors as sentences. What is said never holds the token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from explorer.data.hub_data import is_hub_id, short
from explorer.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOGIN = "log in with `hf auth login`, or set HF_TOKEN (on a Space: as a secret)"
TOKENS = re.compile(r"\b(hf|api)_[A-Za-z0-9_]{6,}")


class HubError(UserError):
    """What the Hub would not do, with the remedy. ``away``: it did not answer, so that trying again later may do."""

    def __init__(self, text: str, away: bool = False):
        super().__init__(text)
        self.away = away


def scrubbed(text: str) -> str:
    """``text`` without anything that looks like a token, or is this machine's."""
    from huggingface_hub import get_token

    token = get_token()
    return TOKENS.sub("hf_***", text.replace(token, "hf_***") if token else text)


def has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def connect() -> HfApi:
    """The client with this machine's token. Raises HubError when there is none."""
    from huggingface_hub import HfApi

    if not has_token():
        raise HubError(f"There is no Hugging Face token here: {LOGIN}. It needs the right to write.")
    return HfApi()


def check_id(repo: str, what: str = "model") -> str:
    repo = (repo or "").strip()
    if not is_hub_id(repo):
        raise HubError(f"{repo!r} is not a Hub {what} id: it looks like owner/name.")
    return repo


@contextmanager
def telling(repo: str, doing: str) -> Iterator[None]:
    """Whatever the client raises in here, as a HubError. ``doing``: what was tried, such as "push pets"."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the client, its HTTP library and the LFS upload each raise kinds of their own
        raise _said(error, repo, doing) from None  # the cause may show headers


def _said(error: Exception, repo: str, doing: str) -> HubError:
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    status = status_of(error)
    owner = repo.split("/")[0]
    if any(isinstance(each, OfflineModeIsEnabled) for each in causes(error)):
        return HubError(f"Could not {doing}: the explorer was told to stay offline (HF_HUB_OFFLINE).", away=True)
    if status == 401 and not any(isinstance(each, RepositoryNotFoundError) for each in causes(error)):
        return HubError(f"Could not {doing}: the Hub does not know this token. Make a new one that may write, then {LOGIN}.")
    if status == 403:
        return HubError(f"Could not {doing}: this token has no right to write to {owner}. Take one that has, or a name of your own.")
    if status in (401, 404):
        return HubError(f"Could not {doing}: there is no {repo} on the Hub, or this token may not see it.")
    if status == 412:
        return HubError(f"Could not {doing}: somebody else changed {repo} at the same moment. Try again.", away=True)
    if (status is None and is_network(error)) or (status or 0) >= 500 or status in (408, 429):
        return HubError(f"Could not {doing}: the Hub does not answer ({scrubbed(_reason(error, status))}). Try again later.", away=True)
    return HubError(f"Could not {doing}: {scrubbed(short(error))}.")


def _reason(error: Exception, status: int | None) -> str:
    return f"it says {status}" if status else short(list(causes(error))[-1])


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and what led to it: an upload in a thread wraps what happened."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_network(error: Exception) -> bool:
    """Whether ``error`` comes of a connection: one of the system's, or of the HTTP library the client has today."""
    return any(isinstance(each, OSError) or type(each).__module__.startswith(("httpx", "httpcore")) for each in causes(error))


def status_of(error: Exception) -> int | None:
    """The HTTP status the Hub answered with; None when it did not answer."""
    for each in causes(error):
        response = getattr(each, "response", None)
        if response is not None:
            return response.status_code
    return None
