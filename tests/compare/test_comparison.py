import math
from pathlib import Path

import numpy as np
import pytest
from helpers_runs import example, make_images, make_run

from explorer import files
from explorer.compare import columns
from explorer.compare.comparison import (
    LEFT,
    ORDERS,
    REFERENCE,
    Column,
    View,
    build,
    default_columns,
    differing_settings,
    first_columns,
    sureness,
)
from explorer.model import captions
from explorer.model.captions import Caption, Decoding
from explorer.scoring.wording import Piece, diff

DOG, CAT, BALL = "a brown dog runs on the grass", "a white cat sleeps on a sofa", "a red ball lies on the sand"
NONSENSE = "two men ride a train"


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    return make_images(tmp_path / "photos", 4)


@pytest.fixture
def four(tmp_path, photos, workspace):
    """Four images; base, epoch 1, epoch 2: learned, always, forgotten, never."""
    references = [[DOG, "a dog on grass"], [CAT], [BALL], ["a blue bird, in a tree"]]
    examples = [example(path, group) for path, group in zip(photos, references, strict=True)]
    base = [NONSENSE, CAT, BALL, NONSENSE]
    first = [NONSENSE, CAT, BALL, "a dog dog"]
    second = [DOG, CAT, NONSENSE, Caption("a man with a", ("a", "man", "with", "a"), (0.9, 0.2, 0.8, 0.9), finished=False)]
    return build([make_run(tmp_path, examples, [base, first, second])], workspace)


def shown(comparison, *filters, flagged=frozenset(), **view) -> list[int]:
    return comparison.select(View(frozenset(filters), **view), flagged).tolist()


# --- building ---------------------------------------------------------------------------------------------


def test_columns_are_the_base_and_every_epoch_in_order(four):
    assert [four.label(column) for column in four.columns] == ["base", "epoch 1", "epoch 2"]
    assert [column.checkpoint for column in four.columns] == ["base", "epoch-1", "epoch-2"]
    assert [Column.from_key(column.key) for column in four.columns] == four.columns


def test_a_column_key_survives_any_run_name():
    assert Column.from_key(Column("a@b.c-1", 12).key) == Column("a@b.c-1", 12)


def test_rows_hold_what_the_run_s_files_hold(four):
    page = four.page(View())
    assert (page.total, page.pages, len(page.rows)) == (4, 1, 4)
    assert [row.file for row in page.rows] == [f"photo-{n:03}.png" for n in range(4)]
    assert all(row.path.exists() for row in page.rows)
    assert page.rows[0].references == (DOG, "a dog on grass")
    assert [[cell.caption.text for cell in row.cells] for row in page.rows][2] == [BALL, BALL, NONSENSE]


def test_each_caption_is_told_apart_from_the_column_to_its_left(four):
    cells = four.row(1).cells
    assert [[piece.kind for piece in cell.pieces] for cell in cells] == [["same"], ["same"], ["same"]]
    words = {piece.text: piece.kind for piece in four.row(3).cells[1].pieces}
    assert words == {"two men ride": "dropped", "a": "same", "train": "dropped", "dog dog": "added"}


def test_columns_can_be_chosen_and_put_in_any_order(four, workspace, tmp_path):
    from explorer.train.run import Run

    chosen = build([Run(tmp_path / "pets")], workspace, [Column("pets", 2), Column("pets", 0)])
    assert [[cell.caption.text for cell in row.cells] for row in chosen.page(View()).rows][0] == [DOG, NONSENSE]


def test_captions_made_later_are_read_beside_the_run_s_own(tmp_path, photos, workspace):
    examples = [example(path, ["a dog"]) for path in photos]
    run = make_run(tmp_path, examples, [["a dog", "a cat", None, None]])
    assert [len(images) for _, images in build([run], workspace).missing()] == [2]
    captions.append(columns.cache_file(workspace, run, 0, run.config.decoding), examples[2]["image_id"], Caption("a fox"))
    later = build([run], workspace)
    assert [later.text(later.columns[0], place) for place in range(4)] == ["a dog", "a cat", "a fox", None]


def test_captions_of_another_decoding_are_not_mixed_in(four, workspace, tmp_path):
    from explorer.train.run import Run

    other = build([Run(tmp_path / "pets")], workspace, decoding=Decoding(beams=3))
    assert [len(images) for _, images in other.missing()] == [4, 4, 4]
    assert other.page(View()).rows[0].cells[0].caption is None


def test_nothing_to_compare_is_an_empty_page_in_every_order(workspace, tmp_path):
    for comparison in (build([], workspace), build([make_run(tmp_path, [], [])], workspace)):
        for order in ORDERS:
            page = comparison.page(View(frozenset(["changed", "wrong", "regressed", "repeated", "unfinished", "flagged"]), order=order))
            assert (page.rows, page.total, page.pages) == ((), 0, 1)
        assert comparison.learning_counts() == []


# --- several runs -----------------------------------------------------------------------------------------


def test_two_runs_are_aligned_by_image_content_though_files_and_order_differ(tmp_path, photos, workspace):
    copies = [path.rename(tmp_path / f"other-{path.name}") for path in make_images(tmp_path / "again", 4)]
    one = make_run(tmp_path, [example(p, [f"photo {n}"]) for n, p in enumerate(photos[:3])], [["a", "b", "c"], ["a1", "b1", "c1"]], "one")
    two = make_run(tmp_path, [example(p, ["seen"]) for p in copies[:0:-1]], [["z", "y", "x"], ["d2", "c2", "b2"]], "two")
    both = build([one, two], workspace)
    assert [both.label(column) for column in both.columns] == ["one · base", "one · epoch 1", "two · epoch 1"]
    table = [[cell.caption.text if cell.caption else None for cell in row.cells] for row in both.page(View()).rows]
    assert table == [["a", "a1", None], ["b", "b1", "b2"], ["c", "c1", "c2"], ["z", None, "d2"]]
    assert both.images[1]["references"] == ["photo 1", "seen"]


def test_runs_on_different_bases_show_both(tmp_path, photos, workspace):
    examples = [example(path, ["a dog"]) for path in photos]
    one = make_run(tmp_path, examples, [["a"] * 4, ["b"] * 4], "one", base="blip-mini")
    two = make_run(tmp_path, examples, [["c"] * 4, ["d"] * 4], "two", base="other/base")
    assert default_columns([one, two]) == [Column("one", 0), Column("one", 1), Column("two", 0), Column("two", 1)]


def test_building_leaves_a_run_s_files_as_they_are(four, tmp_path):
    before = files.read_jsonl(tmp_path / "pets" / "examples.jsonl")
    four.images[0]["references"].append("changed in memory")
    assert files.read_jsonl(tmp_path / "pets" / "examples.jsonl") == before


# --- filters ----------------------------------------------------------------------------------------------


def test_changed_shows_images_whose_caption_differs_in_some_column(four):
    assert shown(four, "changed") == [0, 2, 3]


def test_a_caption_that_is_not_there_yet_or_only_spelled_otherwise_is_no_change(tmp_path, photos, workspace):
    examples = [example(path, ["a dog"]) for path in photos]
    run = make_run(tmp_path, examples, [["a dog", "a dog", "a dog", None], ["A dog.", None, "a cat", "a dog"]])
    assert shown(build([run], workspace), "changed") == [2]


def test_wrong_is_judged_by_the_last_column(four):
    assert shown(four, "wrong") == [2, 3]


def test_a_caption_about_a_thing_that_no_reference_names_is_wrong_however_many_words_it_shares(tmp_path, photos, workspace):
    references = ["a cat is sleeping on the snow", "the kitten is sleeping on the snow"]
    said = ["a bear is sleeping on the snow", "two cats sleeping on the snow", "a kitten is asleep on the snow", "sleeping on the snow"]
    run = make_run(tmp_path, [example(path, references) for path in photos], [said, ["a cat is sleeping on the snow"] * 4])
    found = build([run], workspace)
    assert found.learning == ["learned at epoch 1", *["always"] * 3]
    assert shown(found.only(found.columns[:1]), "wrong") == [0]


def test_regressed_shows_images_that_an_earlier_column_knew_better(four):
    assert 2 in shown(four, "regressed") and not {0, 1} & set(shown(four, "regressed"))


def test_repeated_and_unfinished_show_what_is_said_twice_or_stops(four):
    assert shown(four, "repeated") == [3]
    assert shown(four, "unfinished") == [3]
    assert [cell.marks for cell in four.row(3).cells] == [(), ("repeated",), ("unfinished",)]


def test_a_caption_given_to_many_images_counts_as_repeated(tmp_path, workspace):
    examples = [example(path, ["a dog"]) for path in make_images(tmp_path / "many", 12)]
    said = ["a dog"] * 5 + [f"animal {n}" for n in range(7)]
    assert shown(build([make_run(tmp_path, examples, [said])], workspace), "repeated") == [0, 1, 2, 3, 4]


def test_flagged_shows_flagged_images_and_marks_the_flagged_caption(four):
    image = four.images[1]["image_id"]
    assert shown(four, "flagged", flagged=frozenset([image])) == [1]
    [row] = four.page(View(frozenset(["flagged"])), frozenset([image]), frozenset([("pets@2", image)])).rows
    assert [cell.marks for cell in row.cells] == [(), (), ("flagged",)]


def test_several_filters_show_images_that_pass_them_all(four):
    assert shown(four, "changed", "wrong", "repeated") == [3]
    assert shown(four, "changed", "wrong", search="sand") == [2]


def test_search_finds_all_words_in_captions_references_and_file_names_in_any_case(four):
    assert shown(four, search="GRASS dog") == [0]
    assert shown(four, search="bird") == [3]
    assert shown(four, search="photo-001") == [1]
    assert shown(four, search="train men") == [0, 2, 3]
    assert shown(four, search="zebra") == []
    assert shown(four, search=".*(") == []


def test_images_without_references_are_never_called_wrong_or_regressed(tmp_path, photos, workspace):
    run = make_run(tmp_path, [example(path, []) for path in photos], [["a dog"] * 4, ["a cat"] * 4])
    comparison = build([run], workspace)
    assert shown(comparison, "wrong") == shown(comparison, "regressed") == []
    assert comparison.learning == ["unknown"] * 4 and comparison.learning_counts() == []


# --- learning history -------------------------------------------------------------------------------------


def test_learning_history_says_when_each_image_came_right_or_went_wrong(four):
    assert four.learning == ["learned at epoch 2", "always", "forgotten at epoch 2", "never"]
    assert four.learning_counts() == [
        ("always", 1), ("learned at epoch 2", 1), ("forgotten at epoch 2", 1), ("never", 1),
    ]  # fmt: skip


def test_pressing_a_bar_shows_exactly_its_images(four):
    for name, count in four.learning_counts():
        assert len(shown(four, learning=name)) == count


def test_learning_that_goes_to_and_fro_is_told_by_its_last_turn(tmp_path, photos, workspace):
    examples = [example(path, [DOG]) for path in photos]
    run = make_run(
        tmp_path, examples,
        [[DOG, DOG, NONSENSE, NONSENSE], [NONSENSE, NONSENSE, DOG, None], [DOG, None, NONSENSE, DOG], [DOG, DOG, NONSENSE, DOG]],
    )  # fmt: skip
    told = ["learned at epoch 2", "learned at epoch 3", "forgotten at epoch 2", "learned at epoch 2"]
    assert build([run], workspace).learning == told


# --- order and pages --------------------------------------------------------------------------------------


def test_orders_put_the_worst_the_most_changed_and_the_least_sure_first(four):
    assert shown(four) == [0, 1, 2, 3]
    assert set(shown(four, order="worst first")[:2]) == {2, 3}
    assert shown(four, order="changed most")[-1] == 1
    assert shown(four, order="regressed most")[0] == 2
    assert shown(four, order="least sure first")[0] == 3


def test_file_name_order_is_by_name_and_equal_ones_keep_their_place(tmp_path, photos, workspace):
    examples = [{**example(path, ["a"]), "file": name} for path, name in zip(photos, ["b.png", "c.png", "a.png", "b.png"], strict=True)]
    assert shown(build([make_run(tmp_path, examples, [["x"] * 4])], workspace), order="file name") == [2, 0, 3, 1]


def test_pages_together_hold_every_image_once(tmp_path, workspace):
    examples = [example(path, ["a dog"]) for path in make_images(tmp_path / "many", 29)]
    comparison = build([make_run(tmp_path, examples, [[f"caption {n % 7}" for n in range(29)]])], workspace)
    pages = [comparison.page(View(page=number, page_size=12, order="worst first")) for number in range(3)]
    assert [len(page.rows) for page in pages] == [12, 12, 5] and {page.pages for page in pages} == {3}
    assert len({row.image_id for page in pages for row in page.rows}) == 29


@pytest.mark.parametrize("page", [-3, 99])
def test_a_page_beyond_the_ends_is_the_nearest_one(four, page):
    nearest = four.page(View(page=0 if page < 0 else 1, page_size=3))
    assert [row.image_id for row in four.page(View(page=page, page_size=3)).rows] == [row.image_id for row in nearest.rows]


def test_sureness_is_the_mean_and_the_lowest_word_probability():
    assert sureness(Caption("a b", ("a", "b"), (0.5, 1.0))) == (0.75, 0.5)
    assert sureness(Caption("")) == (1.0, 1.0)


# --- columns and marks ------------------------------------------------------------------------------------


def test_columns_put_on_off_and_in_another_order_share_what_was_found_out(four):
    base, first, second = four.columns
    assert four.goodness.shape == (4, 3)
    other = four.only([second, base])
    assert [other.label(column) for column in other.columns] == ["epoch 2", "base"]
    assert np.array_equal(other.goodness, four.goodness[:, [2, 0]])
    assert [cell.caption.text for cell in other.row(0).cells] == [DOG, NONSENSE]
    assert other.learning == ["forgotten at base", "always", "learned at base", "never"]
    assert four.learning == ["learned at epoch 2", "always", "forgotten at epoch 2", "never"]


def marked(comparison, place: int, against: str) -> list[list[Piece]]:
    return [list(cell.pieces) for cell in comparison.row(place, against=against).cells]


def test_words_are_marked_against_the_column_to_the_left_the_reference_or_any_column(four):
    plain, same = [Piece(NONSENSE, "same")], [Piece(DOG, "same")]
    assert marked(four, 0, LEFT) == [plain, plain, diff(NONSENSE, DOG)]
    assert marked(four, 0, REFERENCE)[2] == same
    assert marked(four, 0, "pets@2") == [diff(DOG, NONSENSE), diff(DOG, NONSENSE), same]
    assert marked(four.only(four.columns[:1]), 0, "pets@2") == [diff(DOG, NONSENSE)]  # also when that column is off
    assert marked(four, 0, "gone@9") == [plain, plain, same]


def test_a_long_run_begins_with_few_columns_evenly_spaced():
    many = [Column("one", epoch) for epoch in range(21)]
    assert [column.epoch for column in first_columns(many)] == [0, 5, 10, 15, 20]
    two = first_columns(many + [Column("two", epoch) for epoch in range(1, 21)])
    assert [(column.run, column.epoch) for column in two] == [("one", 0), ("one", 10), ("one", 20), ("two", 1), ("two", 11), ("two", 20)]
    assert first_columns(many[:4]) == many[:4]


def test_columns_to_begin_with_stay_where_they_are_while_a_run_learns():
    many = [Column("one", epoch) for epoch in range(41)]
    seen = [[column.epoch for column in first_columns(many[: epoch + 1])] for epoch in range(1, 41)]
    assert all(epochs[0] == 0 and epochs[-1] == last and len(epochs) <= 6 for last, epochs in enumerate(seen, 1))
    lost = [{*before[:-1]} - {*after} for before, after in zip(seen, seen[1:], strict=False)]
    assert sum(map(bool, lost)) <= 4  # when the steps become longer; the last epoch alone gives way to the next


def test_only_settings_that_differ_between_runs_are_told(tmp_path, photos):
    examples = [example(path, ["a dog"]) for path in photos]
    one = make_run(tmp_path, examples, [["a"] * 4, ["b"] * 4], "one")
    two = make_run(tmp_path, examples[1:], [["a"] * 3, ["b"] * 3], "two", decoding=Decoding(beams=3))
    assert differing_settings([one, two]) == [("beams", ["1", "3"]), ("validation images used", ["4", "3"])]
    assert differing_settings([one, one]) == []


# --- large ------------------------------------------------------------------------------------------------


def test_the_first_page_needs_no_scores(four):
    four.page(View())
    assert "goodness" not in vars(four)
    four.page(View(frozenset(["wrong"])))
    assert isinstance(vars(four)["goodness"], np.ndarray) and not math.isnan(four.goodness[0, 0])
