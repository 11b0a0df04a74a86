"""One interface over three architectures, and a sentence for every base that cannot be used.

python -m pytest tests/test_captioner.py
"""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import models
import pytest
import torch

from explorer.model.captioner import ModelError, load
from explorer.model.captions import Decoding
from explorer.model.mixture import mixture
from explorer.train import methods


def pictures(count: int) -> list:
    draw = random.Random(3)
    return [models.draw_shape(draw.choice(list(models.COLOURS)), draw.choice(("square", "circle")), draw) for _ in range(count)]


@pytest.fixture(scope="module", params=list(models.MAKERS))
def captioner(request, bases):
    """Each family in full precision, so that numbers can be compared closely."""
    found = load(bases[request.param])
    found.dtype = None
    return found


# --- captions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoding", [Decoding(max_tokens=6), Decoding(beams=3, max_tokens=6), Decoding(prompt="a red", max_tokens=4)])
def test_each_word_has_one_probability(captioner, decoding):
    for caption in captioner.caption(captioner.encode(pictures(5)), decoding):
        assert caption.words == tuple(caption.text.split())
        assert len(caption.words) == len(caption.probabilities)
        assert all(0 < p <= 1 for p in caption.probabilities)


@pytest.mark.parametrize("decoding", [Decoding(max_tokens=6), Decoding(beams=3, max_tokens=6)])
def test_a_caption_does_not_depend_on_the_batch_it_is_in(captioner, decoding):
    features = captioner.encode(pictures(6))
    together = captioner.caption(features, decoding)
    alone = [captioner.caption(features[place : place + 1], decoding)[0] for place in range(6)]
    assert [c.text for c in together] == [c.text for c in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.finished == other.finished
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-3)


def test_the_prompt_begins_the_caption_and_is_certain(captioner):
    for caption in captioner.caption(captioner.encode(pictures(2)), Decoding(prompt="a blue", max_tokens=3)):
        assert caption.text.startswith("a blue")
        assert caption.probabilities[0] == 1.0


def test_generation_stops_at_max_tokens_and_says_that_it_is_unfinished(captioner):
    features = captioner.encode(pictures(3))
    whole = captioner.caption(features, Decoding(max_tokens=6))
    for length in (1, 2, 3):
        for caption, long in zip(captioner.caption(features, Decoding(max_tokens=length)), whole, strict=True):
            count = captioner.token_count(long.text) - 2
            if not caption.finished:
                assert long.text.startswith(caption.text) and captioner.token_count(caption.text) - 2 <= length
            else:
                assert caption == long and count < length


def test_a_prompt_longer_than_the_model_is_told(captioner):
    with pytest.raises(ModelError.__base__, match="too long"):
        captioner.caption(captioner.encode(pictures(1)), Decoding(prompt="a red square " * 40))


def test_unfinished_is_told_until_the_end_token_fits(blip):
    captioner = load(blip)
    start, end = captioner.start, captioner.end
    word = captioner.tokenizer("red", add_special_tokens=False)["input_ids"]
    assert not captioner.compose(word, [0.5], 0).finished
    assert captioner.compose([*word, end], [0.5, 0.9], 0).finished
    assert captioner.compose([end], [0.9], 0).text == ""
    assert start != end


def test_beams_find_a_caption_no_less_likely_than_greedy(captioner):
    features = captioner.encode(pictures(4))
    same_length = dict(max_tokens=1)
    greedy, beams = (captioner.caption(features, Decoding(beams=n, **same_length)) for n in (1, 4))
    for one, other in zip(greedy, beams, strict=True):
        assert math.prod(other.probabilities) >= math.prod(one.probabilities) * 0.999


# --- words ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spelling(tmp_path_factory):
    """A BLIP whose tokenizer cuts words into pieces."""
    folder = models.make_blip(tmp_path_factory.mktemp("pieces") / "blip")
    models.word_pieces(("un", "##believ", "##able", "dog", "##s", "'", "s", ",", "-", "caf", "##e")).save_pretrained(folder)
    return load(str(folder))


@pytest.mark.parametrize(
    ("pieces", "words", "probabilities"),
    [
        (["a", "un", "##believ", "##able", "dog", "##s"], ("a", "unbelievable", "dogs"), (0.9, 0.9**3, 0.9**2)),
        (["a", "dog", "'", "s"], None, None),
        (["red", ",", "blue"], None, None),
    ],
)
def test_words_of_word_pieces_are_the_products_of_their_pieces(spelling, pieces, words, probabilities):
    tokens = spelling.tokenizer.convert_tokens_to_ids(pieces)
    caption = spelling.compose(tokens, [0.9] * len(tokens), 0)
    assert caption.words == tuple(caption.text.split())
    if words:
        assert caption.words == words
        assert caption.probabilities == pytest.approx(probabilities)
    assert math.prod(caption.probabilities) == pytest.approx(0.9 ** len(tokens))


@pytest.mark.parametrize(
    "text", ["a red square", "caffè  latte", "ein Käfer", "a 🐶 dog", "🐶🐱 two", "#1 ##2 dog", "犬 が いる", "naïve 🐶"]
)
def test_words_of_byte_pairs_hold_where_a_letter_takes_several_tokens(pair, text):
    captioner = load(pair)
    tokens = captioner.tokenizer(text, add_special_tokens=False)["input_ids"]
    chances = [0.99 - 0.01 * place for place in range(len(tokens))]
    caption = captioner.compose([*tokens, captioner.end], [*chances, 0.5], 0)
    assert caption.text == " ".join(text.split())
    assert caption.words == tuple(text.split())
    assert math.prod(caption.probabilities) == pytest.approx(math.prod(chances))
    parts = [
        captioner.tokenizer((" " if place else "") + word, add_special_tokens=False)["input_ids"]
        for place, word in enumerate(text.split(" "))
        if word
    ]
    if sum(map(len, parts)) == len(tokens):  # each word's tokens are its own
        at, expected = 0, []
        for part in parts:
            expected.append(math.prod(chances[at : at + len(part)]))
            at += len(part)
        assert caption.probabilities == pytest.approx(expected)


def test_a_letter_left_in_the_middle_does_not_break_the_words(pair):
    captioner = load(pair)
    tokens = captioner.tokenizer("a 🐶", add_special_tokens=False)["input_ids"][:-1]
    caption = captioner.compose(tokens, [0.9] * len(tokens), 0)
    assert len(caption.words) == len(caption.probabilities) and not caption.finished


def test_over_long_captions_are_cut_and_keep_their_end(captioner):
    ids, mask = captioner.ids(["a red square " * 30, "a"])
    assert ids.shape[1] == captioner.max_tokens
    assert ids[0, -1] == captioner.end and mask[0].all()
    assert mask[1].sum() == captioner.token_count("a") == 3


# --- adapters ---------------------------------------------------------------------------------------------


def test_switching_adapters_on_and_off_brings_each_back(blip, tmp_path):
    folders = []
    for number in (1, 2):
        learner = load(blip)
        weights = methods.prepare(learner, "lora", 4, "base")
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in weights.values():
                weight.normal_()
        methods.save_weights(learner, "lora", tmp_path / str(number))
        folders.append(tmp_path / str(number))
    captioner = load(blip)
    captioner.dtype = None
    features = captioner.encode(pictures(2))
    ids, mask = captioner.ids(["a red square"] * 2)

    def scores(adapter):
        with torch.no_grad():
            return captioner.use(adapter).logits(features, ids, mask)

    base, first, second = scores(None), scores(folders[0]), scores(folders[1])
    assert not torch.allclose(base, first) and not torch.allclose(first, second)
    assert torch.equal(scores(None), base)
    assert torch.equal(scores(folders[0]), first)
    assert torch.equal(scores(folders[1]), second)


def wild_adapters(base: str, folder: Path, method: str) -> list[Path]:
    """Two adapters of different rank whose every matrix is drawn at random, so that each says something else."""
    made = []
    for rank in (2, 4):
        learner = load(base)
        weights = methods.prepare(learner, method, rank, "base")
        torch.manual_seed(rank)
        with torch.no_grad():
            for weight in weights.values():
                weight.normal_(std=0.5)
        made.append(folder / str(rank))
        methods.save_weights(learner, method, made[-1])
    return made


@pytest.mark.parametrize("decoding", [Decoding(max_tokens=6), Decoding(beams=3, max_tokens=6, prompt="a red")])
@pytest.mark.parametrize("method", ["lora", "lora-vision"])
def test_adapters_decoded_in_one_batch_say_what_each_says_alone(captioner, tmp_path, method, decoding):
    adapters = [None, *wild_adapters(captioner.base, tmp_path, method), None]
    alone = load(captioner.base)
    alone.dtype = None
    seen = pictures(3)
    expected = [(alone.use(a), alone.caption(alone.encode(seen), decoding))[1] for a in adapters]
    towers = {a: captioner.use(None if captioner.sees_as_base(a) else a).encode(seen) for a in adapters}
    features = [towers[None if captioner.sees_as_base(a) else a] for a in adapters]
    found = captioner.caption_each(features, adapters, decoding)
    for row, other in zip(found, expected, strict=True):
        for one, two in zip(row, other, strict=True):
            assert (one.text, one.finished) == (two.text, two.finished)
            assert one.probabilities == pytest.approx(two.probabilities, rel=1e-3)
    assert all(one == two for one, two in zip(captioner.use(None).caption(features[0], decoding), expected[0], strict=True))


@pytest.mark.parametrize("method", ["lora", "lora-vision"])
def test_adapters_in_one_batch_score_as_each_does_alone(captioner, tmp_path, method):
    adapters = [None, *wild_adapters(captioner.base, tmp_path, method)]
    features = captioner.use(None).encode(pictures(2))
    ids, mask = captioner.ids(["a red square", "the circle"])
    with torch.no_grad():
        alone = [captioner.use(adapter).logits(features, ids, mask) for adapter in adapters]
        assert not torch.allclose(alone[0], alone[1], atol=1e-2) and not torch.allclose(alone[1], alone[2], atol=1e-2)
        for seen, owner in ((features, torch.arange(2).repeat(3)), (features.repeat(3, 1, 1), torch.arange(6))):
            with mixture(captioner.peft, [captioner.hold(adapter) for adapter in adapters]):
                together = captioner.logits(seen, ids.repeat(3, 1), mask.repeat(3, 1), owner)
            for one, other in zip(together.chunk(3), alone, strict=True):
                assert torch.allclose(one[mask == 1], other[mask == 1], atol=1e-4)


def test_captions_of_one_image_share_its_keys_and_score_as_alone(captioner):
    features = captioner.encode(pictures(3))
    ids, mask = captioner.ids(["a red square", "blue", "the circle on the white square", "a circle", "a blue circle"])
    owner = torch.tensor([2, 0, 2, 1, 2])
    with torch.no_grad():
        together = captioner.logits(features, ids, mask, owner)
        alone = captioner.logits(features[owner], ids, mask)
    assert torch.allclose(together[mask == 1], alone[mask == 1], atol=1e-5)


@pytest.fixture
def talkative(blip):
    """A BLIP on a CPU that says six words, whatever it sees."""
    found = load(blip, torch.device("cpu"))
    with torch.no_grad():
        found.model.text_decoder.cls.predictions.bias[found.end] = -100
    return found


def test_words_are_chosen_in_full_precision_on_a_cpu_whatever_the_tower_works_in(talkative):
    features = torch.randn(4, 16, 32, generator=torch.Generator().manual_seed(0))
    expected = talkative.caption(features, Decoding(max_tokens=6))
    talkative.dtype = torch.bfloat16
    assert talkative.caption(features, Decoding(max_tokens=6)) == expected and all(caption.words for caption in expected)


def test_keys_and_values_of_an_image_are_computed_in_half_precision_where_that_is_faster(talkative):
    features = torch.randn(4, 16, 32, generator=torch.Generator().manual_seed(0))
    expected = talkative.caption(features, Decoding(max_tokens=6))
    for layer in (module for module in talkative.model.modules() if hasattr(module, "image_type")):
        layer.image_type = torch.bfloat16
    found = talkative.caption(features, Decoding(max_tokens=6))
    assert [caption.text for caption in found] == [caption.text for caption in expected]
    chances, others = ([p for caption in said for p in caption.probabilities] for said in (found, expected))
    assert chances != others and chances == pytest.approx(others, abs=0.02)


def test_blip_says_what_transformers_own_generate_says(blip):
    from transformers import BlipForConditionalGeneration

    captioner, plain = load(blip), BlipForConditionalGeneration.from_pretrained(blip).eval()
    captioner.dtype = None
    pixels = captioner.pixels(pictures(4))
    ours = captioner.caption(captioner.encode_pixels(pixels).detach(), Decoding(max_tokens=6))
    theirs = [plain.generate(pixel_values=one[None], max_new_tokens=6, do_sample=False)[0] for one in pixels]
    assert [caption.text for caption in ours] == [captioner.tokenizer.decode(row, skip_special_tokens=True) for row in theirs]


def test_the_fingerprint_of_the_tower_is_the_same_at_each_load_and_other_for_other_weights(bases, tmp_path):
    prints = {name: {load(folder).vision_fingerprint() for _ in range(2)} for name, folder in bases.items()}
    assert all(len(found) == 1 for found in prints.values())
    assert len(set.union(*prints.values())) == 3
    changed = load(bases["blip"])
    with torch.no_grad():
        next(changed.family.vision(changed.model).parameters()).add_(1)
    assert changed.vision_fingerprint() not in prints["blip"]


# --- bases that cannot be used ----------------------------------------------------------------------------


def copied(blip: str, tmp_path: Path) -> Path:
    shutil.copytree(blip, tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "./no/folder", "blip-mni", ""])
def test_a_base_that_can_be_nowhere_is_told(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such folder|cannot be read"):
        load(name)


def test_a_hub_id_that_was_never_fetched_is_told_when_offline():
    with pytest.raises(ModelError, match="could not be fetched from the Hub"):
        load("someone/some-model")


def test_folder_without_config_is_told(tmp_path):
    with pytest.raises(ModelError, match="its config cannot be read"):
        load(str(tmp_path))


def test_other_architectures_are_told_with_those_that_work(tmp_path):
    from transformers import BertConfig

    BertConfig(hidden_size=8, num_attention_heads=1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a bert model; the explorer fine-tunes blip, git, vision-encoder-decoder"):
        load(str(tmp_path))


def test_pickled_weights_are_refused(blip, tmp_path):
    base = copied(blip, tmp_path)
    (base / "model.safetensors").unlink()
    torch.save(load(blip).model.state_dict(), base / "pytorch_model.bin")
    with pytest.raises(ModelError, match="weights.*safetensors"):
        load(str(base))


@pytest.mark.parametrize(
    ("file", "what"), [("model.safetensors", "weights"), ("config.json", "config"), ("preprocessor_config.json", "image processor")]
)
def test_a_file_of_the_base_cut_short_is_told_by_what_it_is(blip, tmp_path, file, what):
    base = copied(blip, tmp_path)
    data = (base / file).read_bytes()
    (base / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=f"its {what} cannot be read"):
        load(str(base))


def test_a_base_without_tokenizer_is_told(blip, tmp_path):
    base = copied(blip, tmp_path)
    for file in base.glob("*token*"):
        file.unlink()
    with pytest.raises(ModelError, match="its tokenizer cannot be read"):
        load(str(base))


def test_an_adapter_of_another_model_is_told(blip, git, tmp_path):
    learner = load(git)
    methods.prepare(learner, "lora", 4, "base")
    methods.save_weights(learner, "lora", tmp_path)
    with pytest.raises(ModelError, match="its adapter cannot be read"):
        load(blip).use(tmp_path)


def test_an_unreachable_hub_is_told_and_not_waited_for(tmp_path):
    program = "from explorer.model.captioner import load, ModelError\ntry: load('someone/some-model')\nexcept ModelError as error: print(error)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2], timeout=120
    ).stdout
    assert "could not be fetched from the Hub: check the id, the connection" in told


def test_weights_that_lack_parts_are_refused_rather_than_drawn_at_random(blip, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(blip, tmp_path / "half")
    path = tmp_path / "half" / "model.safetensors"
    weights = {name: value for name, value in load_file(path).items() if "crossattention" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack .* parts the model needs, such as text_decoder"):
        load(str(tmp_path / "half"))
