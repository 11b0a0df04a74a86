"""A link opens the view it was made of, and asks for nothing else."""

import random

from explorer.compare.comparison import FILTERS, ORDERS, REFERENCE, View
from explorer.compare.link import Link, from_query, missing, to_query
from explorer.model.captions import Decoding

RUNS = ["demo", "a@b.c-1", "pets_2"]


def test_a_plain_view_is_a_short_link():
    assert to_query(Link(("demo",))) == "runs=demo"


def test_every_view_comes_back_from_its_link():
    draw = random.Random(0)
    for _ in range(300):
        runs = tuple(draw.sample(RUNS, draw.randrange(1, 4)))
        columns = tuple(f"{run}@{epoch}" for run in runs for epoch in draw.sample(range(12), draw.randrange(3)))
        view = View(
            frozenset(draw.sample(sorted(FILTERS), draw.randrange(4))),
            draw.choice(["", "a dog", "100 % & more?", "ö=#+🐶", '"><script>']),
            draw.choice(ORDERS),
            draw.choice([None, "learned at epoch 2", "never"]),
            draw.randrange(4),
            against=draw.choice(["left", REFERENCE, f"{runs[0]}@2"]),
        )
        chosen = draw.choice([(None, None), ("0123456789abcdef", f"{runs[0]}@1")])
        decoding = draw.choice([None, Decoding(3, 12, "a photo of"), Decoding(2)])
        link = Link(runs, columns, view, *chosen, decoding)
        assert from_query(to_query(link), RUNS) == link
        assert from_query("?__theme=dark&" + to_query(link), RUNS) == link


def test_what_makes_no_sense_is_left_out():
    for query in (
        "runs=../../etc&columns=x@1&only=evil&order=drop&against=__proto__&at=-3",
        "at=999999999999999999999&beams=99999&tokens=x&column=demo@x",
        "columns=demo@1e5&columns=demo@²&at=٣",
        "%ff%fe=%00&;;;&&==",
    ):
        link = from_query(query, RUNS)
        assert (link.runs, link.columns, link.column) == ((), (), None)
        assert link.view == View(page=link.view.page) and 0 <= link.view.page < 10**9
        assert link.decoding is None or (1 <= link.decoding.beams <= 10 and 1 <= link.decoding.max_tokens <= 200)


def test_runs_that_are_not_here_are_named():
    assert missing("runs=demo&runs=gone", RUNS) == ["gone"]
    assert from_query("runs=demo&runs=gone&columns=gone@1&columns=demo@2", RUNS) == Link(("demo",), ("demo@2",))
