from explorer.compare.comparison_bench import COLUMNS, made_up, measure, presses


def test_every_filter_and_order_is_measured_and_told_with_its_bar():
    once, again = presses(made_up(60))
    assert {*once} < {*again} and "only wrong" in again and "order most doubtful first" in again
    assert [line.split(":")[0] for line in measure([60])][0] == f"60 images x {COLUMNS} columns"


def test_the_same_seed_makes_the_same_table():
    assert made_up(20, 1).captions == made_up(20, 1).captions != made_up(20, 2).captions
