"""What the page says of what is kept elsewhere."""

from __future__ import annotations

from explorer import files, rights
from explorer.settings import Settings
from explorer.ui import hub_doors
from explorer.ui.context import Context


def kept(workspace, state: str, public: bool = False, **values) -> str:
    told = {"repo": "owner/keep", "state": state, "at": 1.0, "waits": 3, "text": "no <b>right</b>", **values}
    files.write_json(workspace.root / ".kept" / "status.json", told)
    settings = Settings(home=workspace.root, rules=rights.Rules(public=public), keep="owner/keep")
    return hub_doors.kept_html(Context(settings, workspace))


def test_the_page_says_what_is_kept_what_waits_and_why(workspace):
    assert "Kept in owner/keep" in kept(workspace, "kept")
    away = kept(workspace, "away")
    assert "The Hub does not answer; 3 changes wait and will be tried again." in away and "warning" in away
    refused = kept(workspace, "refused")
    assert "no &lt;b&gt;right&lt;/b&gt;; 3 changes wait" in refused and "error" in refused


def test_visitors_of_a_public_page_are_not_told_where_it_is_kept(workspace):
    for state in ("kept", "waiting", "busy"):
        assert "owner/keep" not in kept(workspace, state, public=True)
    said = kept(workspace, "refused", public=True, text="Could not keep this workspace in owner/keep: there is no token.")
    assert "owner/keep" not in said
