"""The Flag tab as HTML: the list, the chosen caption, and what the flags say."""

from __future__ import annotations

from datetime import datetime

from explorer.flag.desk import PAGE, Desk, Entry, Office, Seen
from explorer.flag.flags import REASONS, STATUSES, Event
from explorer.scoring.wording import diff
from explorer.ui import html
from explorer.ui.context import Context

KEYS = """
document.addEventListener('keydown', event => {
  const typing = event.target.closest('input, textarea, select, [contenteditable="true"], [role="listbox"]');
  if (typing || event.ctrlKey || event.metaKey || event.altKey || element.offsetParent === null) return;
  if (!/^([jkregdoxauy?c]|[1-8]|Arrow(Up|Down))$/.test(event.key)) return;
  if (event.key.startsWith('Arrow') && event.target.closest('[role="radiogroup"], [role="tablist"], [role="slider"]')) return;
  event.preventDefault();
  if (event.key === 'c') { document.querySelector('#flag-correction textarea')?.focus(); return; }
  if (event.key === '?') { document.querySelector('#flag-keys > button, #flag-keys .label-wrap')?.click(); return; }
  walked = true;
  trigger('act', {act: 'key', value: event.key});
});
let walked = false;
element.addEventListener('click', event => {
  if (event.target.closest('[data-act=choose]') && window.innerWidth < 760)
    setTimeout(() => document.querySelector('#flag-side')?.scrollIntoView({behavior: 'smooth'}), 400);
});
watch('value', () => {
  if (walked) element.querySelector('[aria-current=true]')?.scrollIntoView({block: 'nearest'});
  walked = false;
});
"""
"""Shortcuts, silent while typing and while the tab is hidden."""

SHORTCUTS = (
    ("j or ↓ / k or ↑", "next / previous caption"),
    ("1 to 8", "what is wrong: " + ", ".join(f"{n} {reason}" for n, reason in enumerate(REASONS, 1))),
    ("r", "correct it by the nearest reference"),
    ("e", "correct it by the best caption of another epoch"),
    ("c", "type the correction; Shift+Enter saves it"),
    ("g", "the caption is right (while reviewing a run)"),
    ("d / o", "dismiss the flag / open it again"),
    ("x / a", "select this one / everything listed"),
    ("u / y", "undo / redo your last change"),
    ("?", "show or hide this list"),
)


def help_html() -> str:
    rows = "".join(f"<tr><td><kbd>{html.text(keys)}</kbd></td><td>{html.text(what)}</td></tr>" for keys, what in SHORTCUTS)
    return f'<div class="x-help"><table>{rows}</table></div>'


# --- the list ---------------------------------------------------------------------------------------------


def progress_html(desk: Desk, seen: Seen) -> str:
    """How far the review is."""
    if not seen.of:
        return ""
    if desk.run:
        return html.bar(seen.done / seen.of, f"{seen.done} of {seen.of} captions of {desk.run} reviewed")
    return html.bar(seen.done / seen.of, f"{seen.done:,} of {seen.of:,} flags corrected, relabelled or dismissed")


def list_html(context: Context, office: Office, desk: Desk, seen: Seen) -> str:
    """One page of the list, with what is selected above it and the ways on below."""
    if not seen.entries:
        return _empty(desk, seen)
    rows = "".join(_item(context, entry, desk) for entry in seen.entries)
    return f'{_bulk(desk, seen)}<div class="x-items">{rows}</div>{_pager(desk, seen)}'


def _empty(desk: Desk, seen: Seen) -> str:
    if desk.run and seen.missing and not seen.done:
        return html.empty("No captions yet", f"{len(seen.missing)} images are not captioned: press the button above.")
    if desk.run:
        return html.empty("Nothing left to judge", f"All {seen.of} captions are reviewed. The flags are one press away, above.")
    if seen.of:
        return html.empty("No flag is left", "Take a filter off, or search for fewer words.")
    return html.empty(
        "No flags yet",
        "Review the worst captions of a run, above; or press a wrong caption in Compare. Every flag is listed here and kept in flags.csv.",
    )


def _item(context: Context, entry: Entry, desk: Desk) -> str:
    flag, picked = entry.flag, entry.flag_id in desk.picked
    corrected = f'<p class="correction">{html.text(flag.corrected_caption)}</p>' if flag and flag.corrected_caption else ""
    uri = context.thumb(entry.path, entry.image_id) if entry.path else None
    told = [flag.reason, flag.status, *([flag.reviewer] if flag.reviewer else [])] if flag else list(entry.why) or ["nothing unusual"]
    where = f" · {flag.run} {flag.checkpoint}" if flag else ""
    current = "true" if entry.flag_id == desk.chosen else "false"
    name = f"select {entry.caption}"
    return (
        f'<div class="x-item" aria-current="{current}"><button type="button" class="x-tick" role="checkbox" aria-checked="{"true" if picked else "false"}" data-act="pick" '
        f'data-value="{entry.flag_id}" aria-label="{html.text(name)}"></button>'
        f'<button type="button" class="x-open" data-act="choose" data-value="{entry.flag_id}">'
        f"{html.picture(uri, entry.file)}<span><p>{html.text(entry.caption or 'no words')}</p>{corrected}"
        f'<span class="x-small">{html.text(" · ".join(told))}{html.text(where)}</span></span></button></div>'
    )


def _bulk(desk: Desk, seen: Seen) -> str:
    """What is selected, and what can be done to all of it at once."""
    count = len(desk.picked)
    every = html.button("Select none" if count and count >= seen.total else f"Select all {seen.total:,}", "pick-all", title="")
    if not count:
        return f'<div class="x-toolbar"><span class="x-small">{seen.total:,} listed</span>{every}</div>'
    acts = [html.button("Correct by references", "reference")]
    acts += [html.button("They are right", "approve")] if desk.run else []
    acts += [html.button("Dismiss", "status", value="dismissed"), html.button("Open", "status", value="open")] if not desk.run else []
    acts += [html.button("Remove", "remove")] if not desk.run else []
    return f'<div class="x-toolbar x-bulk"><strong>{count:,} selected</strong><span class="x-chips">{"".join(acts)}{every}</span></div>'


def _pager(desk: Desk, seen: Seen) -> str:
    pages = max(1, -(-seen.total // PAGE))
    if pages == 1:
        return ""
    back = html.button("Previous", "page", value=desk.page - 1) if desk.page else ""
    on = html.button("Next", "page", value=desk.page + 1) if desk.page + 1 < pages else ""
    return f'<div class="x-toolbar"><span class="x-small">page {desk.page + 1} of {pages:,}</span><span>{back} {on}</span></div>'


# --- the chosen one ---------------------------------------------------------------------------------------


def detail_html(context: Context, entry: Entry | None, desk: Desk) -> str:
    if entry is None:
        return html.empty("No caption chosen", "Press one in the list, or j; then 1 to 8 says what is wrong with it.")
    large = context.thumb(entry.path, entry.image_id, 760) if entry.path else None
    flag = entry.flag
    caption = _corrected(entry.caption, flag.corrected_caption) if flag and flag.corrected_caption else html.text(entry.caption or "no words")
    why = f'<p class="x-small">{html.text("; ".join(entry.why))}</p>' if entry.why else ""
    references = "".join(f"<li>{html.text(text)}</li>" for text in entry.references)
    told = f'<dt>references</dt><dd><ul class="x-references">{references}</ul></dd>' if references else ""
    return (
        f'<div class="x-detail">{html.picture(large, entry.file, "large")}<span class="x-name">{html.text(entry.file)}</span>'
        f'<dl><dt>caption of {html.text(entry.run)}, {html.text(entry.checkpoint)}</dt><dd class="x-words x-said">{caption}</dd>{told}</dl>{why}</div>'
    )


def _corrected(caption: str, correction: str) -> str:
    return html.words(diff(caption, correction))


def reasons_html(entry: Entry | None, desk: Desk) -> str:
    """What can be wrong, as buttons with their keys; and what else one key does."""
    if entry is None and not desk.picked:
        return ""
    reason = entry.flag.reason if entry and entry.flag else None
    buttons = "".join(
        f'<button type="button" class="x-button x-reason" data-act="reason" data-value="{html.text(name)}" '
        f'aria-pressed="{"true" if name == reason else "false"}"><kbd>{key}</kbd>{html.text(name)}</button>'
        for key, name in enumerate(REASONS, 1)
    )
    several = f" with these {len(desk.picked):,} captions" if desk.picked else ""
    return f'<p class="x-small x-label">What is wrong{html.text(several)}</p><div class="x-reasons">{buttons}</div>'


def verdicts_html(entry: Entry | None) -> str:
    """What one presses besides a reason: right, dismissed, open, removed."""
    if entry is None:
        return ""
    if entry.flag is None:
        return f'<div class="x-verdicts">{_keyed("g", "It is right", "approve")}</div>'
    status = [_keyed(key, label, "status", value=value, on=entry.flag.status == value) for key, label, value in _STATUSES]
    done = f'<span class="x-small">status: {html.text(entry.flag.status)}</span>' if entry.flag.status == "relabelled" else ""
    return f'<div class="x-verdicts">{"".join(status)}{html.button("Remove the flag", "remove")}{done}</div>'


_STATUSES = (("o", "Open", "open"), ("d", "Dismissed", "dismissed"))


def _keyed(key: str, label: str, act: str, value: str = "", on: bool = False) -> str:
    return (
        f'<button type="button" class="x-button" data-act="{act}" data-value="{html.text(value)}" '
        f'aria-pressed="{"true" if on else "false"}"><kbd>{key}</kbd>{html.text(label)}</button>'
    )


def history_html(events: list[Event]) -> str:
    """Everything that happened to a flag, the newest first."""
    if not events:
        return '<p class="x-small">Nothing yet.</p>'
    rows = []
    for event in reversed(events):
        changed = "; ".join(
            f"{name.replace('_', ' ')}: {html.text(old or 'empty')} → {html.text(new or 'empty')}" for name, old, new in event.fields
        )
        what = f"<del>{html.text(event.what)}</del> (undone)" if event.undone else html.text(event.what)
        who = f" by {html.text(event.who)}" if event.who else ""
        rows.append(f'<li><span class="x-number">{html.text(_when(event.at))}</span>{who}: {what}<br><span class="x-small">{changed}</span></li>')
    return f'<ul class="x-problems">{"".join(rows)}</ul>'


def _when(stamp: str) -> str:
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return stamp


# --- what the flags say -----------------------------------------------------------------------------------


def says_html(office: Office, desk: Desk) -> str:
    """Sentences about what is taken for what, and counts by reason, epoch, word and kind of image: bars that filter."""
    counts = office.store.counts()
    if desk.run or not counts["status"]:
        return ""
    said = [
        f'<button type="button" class="x-sentence" data-act="narrow" data-value="confusion={html.text(sentence)}" '
        f'aria-pressed="{"true" if desk.facets.get("confusion") == sentence else "false"}">{html.text(sentence)}</button>'
        for sentence in office.groups("confusion")
    ]
    groups = {
        "status": [(name, counts["status"][name]) for name in STATUSES],
        "reason": counts["reason"].most_common(),
        "checkpoint": sorted(counts["checkpoint"].items()),
        "word": [(word, len(ids)) for word, ids in office.groups("word").items()],
        "kind": [(kind, len(ids)) for kind, ids in office.groups("kind").items()][:8],
    }
    titles = {"status": "status", "reason": "reason", "checkpoint": "epoch", "word": "wrong word", "kind": "kind of image"}
    bars = "".join(_bars(titles[name], name, rows, desk.facets.get(name)) for name, rows in groups.items())
    sentences = f'<div class="x-sentences">{"".join(said)}</div>' if said else ""
    return f'{sentences}<div class="x-says">{bars}</div>'


def _bars(title: str, facet: str, rows: list[tuple[str, int]], chosen: str | None) -> str:
    rows = [(label, count) for label, count in rows if count]
    top = max((count for _, count in rows), default=0)
    if not rows:
        return ""
    bars = "".join(
        f'<button type="button" class="x-say" data-act="narrow" data-value="{facet}={html.text(label)}" '
        f'aria-pressed="{"true" if label == chosen else "false"}"><span>{html.text(label)}</span>'
        f'<span class="x-say-bar"><span style="width:{100 * count / top:.0f}%"></span></span><span class="x-number">{count:,}</span></button>'
        for label, count in rows
    )
    return f'<div class="x-say-group"><p class="x-small">{title}</p>{bars}</div>'
