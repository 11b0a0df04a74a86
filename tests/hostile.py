"""Texts that would do harm if a page took them for more than text, and a way to make many more."""

from __future__ import annotations

import random

HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "${window.hacked=1}",
    "{{#with window}}{{hacked}}{{/with}}",
    "`${(window.hacked=1)}`",
    "</script><script>window.hacked=1</script>",
    '" onmouseover="window.hacked=1',
    "javascript:window.hacked=1",
    "<%= window.hacked=1 %>",
    "</button></td></table><svg onload=window.hacked=1>",
    "' autofocus onfocus='window.hacked=1",
    "<style>*{display:none}</style>",
    "&lt;script&gt;&#x3c;b&#x3e;",
    "--><!-- ]]> <![CDATA[",
)
PARTS = (
    "<",
    ">",
    '"',
    "'",
    "`",
    "&",
    "${",
    "}",
    "{{",
    "}}",
    "<script>",
    "</",
    "onload=",
    "=",
    "<!--",
    "-->",
    "\\",
    "a dog",
    "é",
    "🐶",
    "\u202e",
    "&lt;",
)


def drawn(count: int, seed: int = 0) -> list[str]:
    """Hostile texts put together at random from the signs that HTML, attributes and templates are made of."""
    draw = random.Random(seed)
    return ["".join(draw.choice(PARTS) + draw.choice(("", " ")) for _ in range(draw.randrange(1, 12))).strip() for _ in range(count)]
