"""The drawn world: same seed same bytes, words true of their picture, boxes where the things are.

python -m pytest tests/test_scenes.py
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from explorer import scenes
from explorer.scenes import ACTIONS, COATS, WORLDS, scene, words, write
from explorer.scoring.attributes import NAMES, UNSAID, Attributes, read

COUNT = 500


@pytest.fixture(scope="module")
def truths() -> dict[str, list[scenes.Scene]]:
    """COUNT scenes of each world, drawn small: facts, words and boxes do not depend on the size."""
    return {world: [scene(seed, world, 64)[1] for seed in range(COUNT)] for world in WORLDS}


def said(text: str) -> Attributes:
    return Attributes(**{name: value or UNSAID.get(name) for name, value in asdict(read(text)).items()})


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", [96, 128, 256])
def test_same_seed_same_bytes(world, size):
    for seed in (0, 7, 10**12):
        first, truth = scene(seed, world, size)
        again, truth_again = scene(seed, world, size)
        assert (first.size, first.mode) == ((size, size), "RGB")
        assert first.tobytes() == again.tobytes()
        assert truth == truth_again


def test_size_scales_the_same_scene():
    for seed in range(5):
        small, large = scene(seed, "pets", 64), scene(seed, "pets", 256)
        assert small[1].references == large[1].references
        difference = np.asarray(small[0], int) - np.asarray(large[0].reduce(4), int)
        assert np.abs(difference).mean() < 8


def test_other_seed_other_picture():
    pictures = {scene(seed, world, 64)[0].tobytes() for seed in range(50) for world in WORLDS}
    assert len(pictures) == 100


@pytest.mark.parametrize("world", WORLDS)
def test_reader_reads_back_every_reference_of_full_wording(truths, world):
    for truth in truths[world]:
        for text in truth.references[:4]:
            assert said(text) == truth.attributes, text


@pytest.mark.parametrize("world", WORLDS)
def test_short_reference_says_nothing_false(truths, world):
    for truth in truths[world]:
        known = asdict(truth.attributes)
        for name, value in asdict(read(truth.references[4])).items():
            assert value in (None, known[name]), truth.references


@pytest.mark.parametrize("world", WORLDS)
def test_references_are_five_different_plain_sentences(truths, world):
    for truth in truths[world]:
        assert len(set(truth.references)) == 5
        for text in truth.references:
            assert re.fullmatch(r"an? [a-z]+( [a-z]+)+", text), text
            assert not {"left", "right"} & set(text.split())


@pytest.mark.parametrize("world", WORLDS)
def test_words_are_the_complete_vocabulary(truths, world):
    used = {word for truth in truths[world] for text in truth.references for word in text.split()}
    assert used <= words()


def test_other_world_never_names_dog_cat_or_tongue(truths):
    for truth in truths["others"]:
        spoken = " ".join([*truth.references, *map(str, asdict(truth.attributes).values()), *truth.boxes])
        assert not re.search(r"\b(dog|cat|puppy|kitten|tongue)", spoken)


def test_worlds_share_actions_objects_places_and_coats(truths):
    for name in ("action", "object", "place"):
        shown = [{getattr(truth.attributes, name) for truth in truths[world]} for world in WORLDS]
        assert shown[0] == shown[1]
    assert {truth.attributes.coat for truth in truths["pets"]} == set(COATS)
    assert {truth.attributes.action for truth in truths["pets"]} == set(ACTIONS)
    assert {truth.attributes.mouth for truth in truths["pets"]} == {"tongue", "ball", "neither"}
    assert {truth.attributes.mouth for truth in truths["others"]} == {"ball", "neither"}


@pytest.mark.parametrize("world", WORLDS)
def test_facts_agree_with_each_other(truths, world):
    for facts in (truth.attributes for truth in truths[world]):
        assert (facts.action == "eating") == (facts.object == "bowl")
        assert facts.mouth == "neither" or facts.action not in ("eating", "sleeping")
        assert facts.mouth != "ball" or facts.object == "ball"
        assert facts.object != "bed" or facts.action in ("sitting", "sleeping")


@pytest.mark.parametrize("world", WORLDS)
def test_every_nameable_thing_has_a_box_inside_the_picture(truths, world):
    for truth in truths[world]:
        facts = truth.attributes
        expected = {facts.species, facts.place, "head", facts.object, facts.mouth} - {"none", "neither"}
        assert expected <= set(truth.boxes) <= expected | {"shirt"}
        for left, top, right, bottom in truth.boxes.values():
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64


def test_tongue_box_is_mostly_pink_and_large_enough_to_see():
    for seed in range(60):
        image, truth = scene(seed, "pets", 128)
        if "tongue" not in truth.boxes:
            continue
        left, top, right, bottom = truth.boxes["tongue"]
        red, green, blue = np.moveaxis(np.asarray(image.crop((left, top, right, bottom)), int), 2, 0)
        pink = (red > 200) & (red - green > 60) & (blue > 90)
        assert pink.mean() > 0.6
        assert right - left >= 10
        assert bottom - top >= 14


def test_ball_in_the_mouth_lies_on_the_head_and_is_large_enough_to_see():
    for seed in range(100):
        _, truth = scene(seed, "others", 128)
        if truth.attributes.mouth == "ball":
            left, top, right, bottom = truth.boxes["ball"]
            head = truth.boxes["head"]
            assert head[0] < (left + right) / 2 < head[2]
            assert head[1] < top < head[3]
            assert min(right - left, bottom - top) >= 16


def test_head_is_large():
    widths = [box[2] - box[0] for box in (scene(seed, "pets", 100)[1].boxes["head"] for seed in range(60))]
    assert min(widths) > 33
    assert 40 < np.mean(widths) < 55


def test_written_folder_reads_back_and_keeps_its_splits_apart(tmp_path):
    folder = write(tmp_path / "pets", train=12, validation=6, seed=3, size=64)
    seen: dict[str, set[bytes]] = {}
    for split, count in (("train", 12), ("validation", 6)):
        rows = [json.loads(line) for line in (folder / split / "metadata.jsonl").read_text().splitlines()]
        assert {row["file_name"] for row in rows} == {path.name for path in (folder / split).glob("*.png")}
        assert len(rows) == count
        for row in rows:
            assert row["text"] == row["captions"][0]
            assert len(row["captions"]) == 5
            assert set(row["attributes"]) == set(NAMES)
            assert "head" in row["boxes"]
        pictures = [Image.open(folder / split / row["file_name"]).convert("RGB").tobytes() for row in rows]
        seen[split] = set(pictures)
    assert not seen["train"] & seen["validation"]
    first, truth = scene(2 * 3 * 1_000_000, "pets", 64)
    assert first.tobytes() in seen["train"]
    assert {path.name for path in tmp_path.iterdir()} == {"pets"}


def test_written_folder_is_the_same_twice(tmp_path):
    folders = [write(tmp_path / name, train=3, validation=2, size=64) for name in ("one", "two")]
    contents = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in folders]
    assert contents[0] == contents[1]


def test_default_picture_is_small_on_disk(tmp_path):
    folder = write(tmp_path / "pets", train=8, validation=1)
    sizes = [path.stat().st_size for path in folder.rglob("*.png")]
    assert sum(sizes) / len(sizes) < 30_000
