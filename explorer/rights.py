"""Rights: who a person is, and what they may do here. The one place that decides; every handler asks it.

On a laptop (private) everybody may do everything and nobody signs in. On a public page everybody compares and flags;
what changes the page for others, or takes the machine's time, is for its owners, who are known by their sign-in.

How a handler asks, in its first line:

    context.allow("train")                    # a UserError says what the person can do instead

and how a door is shown closed:

    gr.Button("Start", interactive=context.may("train"))    # in a handler of page.load: when built, nobody is there yet
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explorer.errors import UserError

VISITORS = {"compare": "comparing", "flag": "flagging"}
"""What everybody may do, and how it is called in a sentence."""
OWNERS = {
    "import": "bringing data",
    "train": "starting, stopping and resuming runs",
    "caption": "captioning the images of a run",
    "relabel": "making relabelled datasets",
    "review": "changing what others flagged, and saying that a caption is right",
    "delete": "deleting and restoring runs",
    "push": "pushing to and pulling from the Hub",
    "keep": "keeping photos in the table",
}
"""What only owners may do on a public page."""


class NotAllowed(UserError):
    """A person asked for what they may not do here; the sentence says where they can."""


@dataclass(frozen=True)
class Person:
    """Whoever sends a request. ``name``: the Hub name of somebody signed in, else "".

    ``visitor``: the random name of their browser, which keeps one visitor's work from another's; ``address``: where
    they come from, which quotas are counted by, as a browser can take a new name at will.
    """

    name: str = ""
    visitor: str = ""
    address: str = ""

    @property
    def signed_in(self) -> bool:
        return bool(self.name)

    @property
    def key(self) -> str:
        """What a quota counts this person by."""
        return f"@{self.name}" if self.name else self.address

    @property
    def signature(self) -> str:
        """How this person's flags are signed on a public page: nobody can sign as somebody else."""
        return self.name or f"visitor {(self.visitor or self.address)[:8]}"


NOBODY = Person()
"""A handler called without a request: the command line, a test, the page being built."""


@dataclass(frozen=True)
class Rules:
    """What holds on this page. ``owners``: Hub names; ``sign_in``: whether people can sign in at all (on a Space)."""

    public: bool = False
    owners: frozenset[str] = frozenset()
    sign_in: bool = False

    def may(self, person: Person, act: str) -> bool:
        """Whether ``person`` may do ``act``, one of `VISITORS` or `OWNERS`. Raises KeyError for another word."""
        if act in VISITORS:
            return True
        if act not in OWNERS:
            raise KeyError(f"no act is called {act!r}")
        return not self.public or self.is_owner(person)

    def is_owner(self, person: Person) -> bool:
        return self.sign_in and person.name.lower() in self.owners

    def check(self, person: Person, act: str) -> None:
        """Raises NotAllowed when ``person`` may not do ``act``."""
        if not self.may(person, act):
            raise NotAllowed(self.why_not(person, act))

    def why_not(self, person: Person, act: str) -> str:
        """The sentence that goes with a closed door."""
        what = (VISITORS | OWNERS)[act]
        if not self.sign_in:
            return f"On this public page you can compare and flag; {what} is done on a copy of your own: run the explorer on your machine."
        way = "duplicate this Space, or run the explorer on your machine"
        if not person.signed_in:
            return f"On this public page you can compare and flag; {what} is for its owners: sign in as one of them, {way}."
        return f"{person.name} can compare and flag here; {what} is for the owners of this page: {way}."


def from_environment(environment: Mapping[str, str]) -> Rules:
    """The rules the environment asks for, see `explorer.settings`."""
    space = environment.get("SYSTEM") == "spaces"
    asked = environment.get("EXPLORER_PUBLIC", "").strip().lower()
    names = environment.get("EXPLORER_OWNERS", "").split(",")
    if space:
        names.append(environment.get("SPACE_AUTHOR_NAME", ""))
    return Rules(
        public=asked in {"1", "true", "yes"} or (space and not asked),
        owners=frozenset(name.strip().lower() for name in names if name.strip()),
        sign_in=space and bool(environment.get("OAUTH_CLIENT_ID")),
    )
