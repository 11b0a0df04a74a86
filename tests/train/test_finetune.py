"""The engine: it learns, it repeats itself bit for bit, and every architecture and method leaves a model others open.

python -m pytest tests/test_finetune.py
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import models
import pytest
import torch
from torch.nn import functional as F

from explorer.compare import columns
from explorer.data.images import open_image
from explorer.errors import UserError
from explorer.model import captions as kept
from explorer.train import finetune, worker
from explorer.train.engine import Engine
from explorer.train.run import METHODS, Progress, RunConfig, change_config
from explorer.train.schedule import Batch, parts, plan_epoch, rate_at, steps_per_epoch
from explorer.workspace import Workspace


def work(run, workspace) -> list:
    return list(worker.work(run, workspace))


def weights_of(run, epoch: int) -> dict[str, bytes]:
    """The bytes of a checkpoint's weight files."""
    return {file.name: file.read_bytes() for file in run.checkpoint(epoch).folder.glob("*.safetensors")}


def outcome(run) -> tuple:
    """All that a repeated run must repeat: losses, epochs' losses and scores, captions, weights."""
    epochs = [(row["epoch"], row.get("loss"), row["validation_loss"], row["scores"]) for row in run.log() if row["kind"] == "epoch"]
    captions = {epoch: kept.read(run.caption_file(epoch)) for epoch in range(run.config.epochs + 1)}
    return models.losses(run), epochs, captions, {c.epoch: weights_of(run, c.epoch) for c in run.checkpoints()}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("engine")
    return Workspace(root / "home", shipped=root / "shipped")


@pytest.fixture(scope="module")
def whole(home, blip, shapes):
    """An uninterrupted LoRA run of three epochs on every layer, with dropout and augmentation."""
    run = models.new_run(home, blip, shapes, name="whole", method="lora-vision", epochs=3, augment=True)
    work(run, home)
    return run


# --- it learns --------------------------------------------------------------------------------------------


def test_tiny_blip_learns_what_is_red_and_square(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes, epochs=24, label_smoothing=0.0, probes=0)
    work(run, workspace)
    said = kept.read(run.caption_file(24))
    assert {e["file"]: said[e["image_id"]].text for e in run.examples("validation")} == {
        e["file"]: e["references"][0] for e in run.examples("validation")
    }
    first, last = (row for row in run.log() if row["kind"] == "epoch" and row["epoch"] in (1, 24))
    assert last["validation_loss"] < 0.1 < first["validation_loss"]


# --- every architecture and method ------------------------------------------------------------------------


def opened_outside(run, family: str):
    """The run's first checkpoint opened by transformers and peft alone."""
    from peft import PeftModel
    from transformers import BlipForConditionalGeneration, GitForCausalLM, VisionEncoderDecoderModel

    kind = {"blip": BlipForConditionalGeneration, "git": GitForCausalLM, "vision-encoder-decoder": VisionEncoderDecoderModel}[family]
    folder = run.checkpoint(1).folder
    if run.checkpoint(1).adapter:
        return PeftModel.from_pretrained(kind.from_pretrained(run.config.base), folder).eval()
    return kind.from_pretrained(folder).eval()


def outside_logits(model, family: str, pixels, ids):
    if family == "vision-encoder-decoder":
        return model(pixel_values=pixels, decoder_input_ids=ids).logits
    return model(pixel_values=pixels, input_ids=ids).logits[:, -ids.shape[1] :]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", models.MAKERS)
def test_every_method_on_every_architecture_leaves_a_model_that_others_open(workspace, bases, shapes, family, method):
    run = models.new_run(workspace, bases[family], shapes, method=method)
    ended = work(run, workspace)[-1]
    assert (ended.kind, ended.values["state"], run.status().state) == ("end", "finished", "finished")

    shelf = columns.Shelf(workspace)
    own = kept.read(run.caption_file(1))
    captioner = shelf.captioner(run, 1)
    pictures = [open_image(Path(e["path"])) for e in run.examples("validation")]
    again = captioner.caption(captioner.encode(pictures), run.config.decoding)
    assert [own[e["image_id"]].text for e in run.examples("validation")] == [caption.text for caption in again]

    captioner.dtype = None
    ids, mask = captioner.ids(["a red square"])
    pixels = captioner.pixels(pictures[:1])
    with torch.no_grad():
        inside = captioner.logits(captioner.encode_pixels(pixels), ids, mask)
        outside = outside_logits(opened_outside(run, family), family, pixels, ids)
        base = outside_logits(opened_base(run, family), family, pixels, ids)
    assert torch.allclose(inside, outside, atol=1e-5)
    assert not torch.allclose(inside, base, atol=3e-4)  # and it has learned something


def opened_base(run, family: str):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(run.config.base).eval()


@pytest.mark.parametrize("method", ["decoder", "lora"])
@pytest.mark.parametrize("family", models.MAKERS)
def test_methods_over_kept_features_leave_the_vision_tower_as_it_was(workspace, bases, shapes, family, method):
    run = models.new_run(workspace, bases[family], shapes, method=method)
    engine = loaded(run, workspace)
    before = engine.captioner.vision_fingerprint()
    list(engine.train_epoch(1))
    assert engine.captioner.vision_fingerprint() == before


# --- the loss ---------------------------------------------------------------------------------------------


def loaded(run, workspace, exact: bool = True) -> Engine:
    """An engine ready to step; ``exact``: full precision, no dropout."""
    engine = Engine(run, workspace, stop=lambda: False)
    engine.load()
    if exact:
        engine.captioner.dtype = None
        for module in engine.captioner.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
    return engine


@pytest.mark.parametrize("family", models.MAKERS)
def test_loss_is_the_cross_entropy_of_caption_and_end_tokens_alone(workspace, bases, shapes, family):
    captioner = loaded(models.new_run(workspace, bases[family], shapes), workspace).captioner
    captioner.model.eval()
    texts = ["a red square", "blue", "the green circle on a white square"]
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = captioner.encode_pixels(pixels)
    loss, tokens = captioner.loss_sum(features, *captioner.ids(texts))
    by_hand, count = 0.0, 0
    for row, text in enumerate(texts):  # one at a time: no pad can be in it
        words = captioner.tokenizer(text, add_special_tokens=False)["input_ids"]
        fed = torch.tensor([[captioner.start, *words]])
        scores = captioner.logits(features[row : row + 1], fed, torch.ones_like(fed))[0]
        by_hand += F.cross_entropy(scores, torch.tensor([*words, captioner.end]), reduction="sum")
        count += len(words) + 1
    assert tokens == count
    assert torch.allclose(loss, by_hand, rtol=1e-5)


def test_what_stands_in_the_pads_changes_nothing(workspace, blip, shapes):
    captioner = loaded(models.new_run(workspace, blip, shapes), workspace).captioner
    captioner.model.eval()
    features = captioner.encode_pixels(torch.rand(2, 3, 32, 32))
    ids, mask = captioner.ids(["a red square on the white circle", "blue"])
    other = torch.where(mask == 1, ids, torch.full_like(ids, 9))
    assert captioner.loss_sum(features, ids, mask)[0].item() == pytest.approx(captioner.loss_sum(features, other, mask)[0].item(), rel=1e-6)


RAGGED = [
    ("a red square", "red"),
    ("a blue circle on the white square",),
    ("blue", "a circle", "the blue circle on white"),
    ("square",),
    ("a red square on a green circle", "the square"),
    ("a",),
    ("white",),
    ("green green green green", "blue circle"),
]


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", models.MAKERS)
def test_one_batch_of_eight_steps_like_eight_batches_of_one(workspace, bases, shapes, family, method):
    run = models.new_run(workspace, bases[family], shapes, method=method)
    stepped = []
    for size in (8, 1):
        engine = loaded(run, workspace)
        # Plain gradient descent: the weights after the step show the gradient itself, AdamW's only its sign.
        engine.optimizer = torch.optim.SGD(engine.weights.values(), lr=1.0)
        rows = list(zip(engine.train_examples[:8], RAGGED, strict=True))
        step = [Batch(tuple(e for e, _ in part), tuple(r for _, r in part)) for part in parts(rows, size)]
        loss = engine.learn(engine.prepare(step, 0))
        stepped.append((loss, {name: weight.detach().clone() for name, weight in engine.weights.items()}))
    (loss, one), (same_loss, eight) = stepped
    assert loss == pytest.approx(same_loss, rel=1e-5)
    assert all(torch.allclose(one[name], eight[name], atol=2e-6) for name in one)
    untouched = loaded(run, workspace).weights
    assert any(not torch.equal(untouched[name], one[name]) for name in one)


def test_learning_over_kept_features_sees_what_learning_over_pixels_sees(workspace, blip, shapes):
    engine = loaded(models.new_run(workspace, blip, shapes, method="lora"), workspace)
    captioner = engine.captioner
    captioner.model.eval()
    examples = engine.train_examples[:6]
    ids, mask = captioner.ids([e["references"][0] for e in examples])
    with torch.no_grad():
        stored = captioner.logits(engine.eyes.features.get(examples), ids, mask)
        seen = captioner.logits(captioner.encode_pixels(engine.eyes.pictures.pixels(examples)), ids, mask)
    assert torch.allclose(stored, seen, atol=5e-3)


# --- the plan of a run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (1, 8), (5, 2), (64, 3)])
def test_an_epoch_shows_every_example_once_in_an_order_of_its_own(batch_size, accumulate):
    examples = [{"image_id": str(n), "references": [f"a {n}", f"b {n}"]} for n in range(23)]
    config = RunConfig("n", "b", "d", batch_size=batch_size, accumulate=accumulate, references="sample")
    orders = []
    for epoch in (1, 2):
        steps = plan_epoch(examples, config, epoch)
        assert len(steps) == steps_per_epoch(len(examples), config)
        seen = [(e["image_id"], refs) for step in steps for batch in step for e, refs in zip(batch.examples, batch.references, strict=True)]
        assert sorted(int(name) for name, _ in seen) == list(range(23))
        assert all(len(refs) == 1 for _, refs in seen)
        orders.append(seen)
        assert steps == plan_epoch(examples, config, epoch)
    assert orders[0] != orders[1]


def test_the_rate_warms_up_then_falls_to_nothing():
    config = RunConfig("n", "b", "d", learning_rate=1.0, warmup=0.1)
    rates = [rate_at(step, 100, config) for step in range(100)]
    assert rates[:10] == [pytest.approx((step + 1) / 10) for step in range(10)]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 <= rates[-1] < 0.001


# --- the same again ---------------------------------------------------------------------------------------


def test_same_seed_same_losses_captions_and_weights_another_seed_others(home, whole, blip, shapes, tmp_path):
    elsewhere = Workspace(tmp_path / "elsewhere", shipped=tmp_path)
    same = models.new_run(elsewhere, blip, shapes, name="whole", method="lora-vision", epochs=3, augment=True)
    work(same, elsewhere)
    assert outcome(same) == outcome(whole)
    other = models.new_run(elsewhere, blip, shapes, name="other", method="lora-vision", epochs=3, augment=True, seed=1)
    work(other, elsewhere)
    assert models.losses(other) != models.losses(whole)


def stopped_at(run, workspace, step: int) -> None:
    """Work on ``run`` and ask it to stop once ``step`` is done."""
    for progress in worker.work(run, workspace):
        if progress.kind == "step" and progress.step == step:
            run.request_stop()
        last = progress
    assert (last.values["state"], run.status().state) == ("stopped", "stopped")
    assert last.step == step  # the very next thing it does is to end


@pytest.mark.parametrize("method", ["lora-vision", "lora", "full"])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(workspace, tmp_path, blip, shapes, method):
    values = dict(name="whole", method=method, epochs=2, augment=True)
    calm = Workspace(tmp_path / "calm", shipped=tmp_path)
    expected = models.new_run(calm, blip, shapes, **values)
    work(expected, calm)
    run = models.new_run(workspace, blip, shapes, **values)
    for step in (1, 3, 5):  # in the middle of an epoch, at the end of one, and again in the middle
        stopped_at(run, workspace, step)
    assert not (run.folder / "stop").exists()
    work(run, workspace)
    assert outcome(run) == outcome(expected)


def test_a_run_left_without_a_word_goes_on_from_its_last_epoch_and_ends_the_same(workspace, whole, blip, shapes):
    run = models.new_run(workspace, blip, shapes, name="whole", method="lora-vision", epochs=3, augment=True)
    for progress in worker.work(run, workspace):
        if progress.kind == "step" and progress.step == 5:
            break
    assert run.status().state == "stopped"
    (run.folder / ".epoch-2.abcd.part").mkdir()
    work(run, workspace)
    assert outcome(run) == outcome(whole)
    assert not list(run.folder.glob(".epoch-*"))


def test_epochs_can_be_added_to_a_finished_run(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    work(run, workspace)
    first = weights_of(run, 1)
    run = change_config(run, epochs=2)
    work(run, workspace)
    assert [c.epoch for c in run.checkpoints()] == [1, 2]
    assert weights_of(run, 1) == first != weights_of(run, 2)
    assert [step for step, _ in models.losses(run)] == [1, 2, 3, 4, 5, 6]
    assert run.status().state == "finished"


def test_a_finished_run_that_is_resumed_stays_as_it_is(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    work(run, workspace)
    before = outcome(run)
    work(run, workspace)
    assert outcome(run) == before


# --- what goes wrong --------------------------------------------------------------------------------------


def test_a_checkpoint_folder_without_its_metadata_does_not_count(workspace, whole):
    folder = workspace.root / "whole"
    shutil.copytree(whole.folder, folder)
    run = replace(whole, folder=folder)
    (folder / "epoch-3" / "checkpoint.json").unlink()
    (folder / "epoch-9").mkdir()
    assert [c.epoch for c in run.checkpoints()] == [1, 2]
    with pytest.raises(UserError, match="has no checkpoint of epoch 3; it has: 1, 2"):
        run.checkpoint(3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_pictures_gone_or_damaged_after_the_start_are_left_out_and_listed(workspace, tmp_path, blip, shapes, method):
    data = tmp_path / "shapes"
    shutil.copytree(shapes, data)
    run = models.new_run(workspace, blip, data, method=method, epochs=2)
    gone = Path(run.examples("train")[-1]["path"])
    torn = Path(run.examples("validation")[0]["path"])
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:60])
    work(run, workspace)
    assert run.status().state == "finished"
    told = [row["text"] for row in run.log() if row["kind"] == "warning" and row["code"].startswith("image:")]
    assert len(told) == 2 and any(gone.name in text for text in told) and any(torn.name in text for text in told)
    validation = [row["image_id"] for row in run.examples("validation")]
    assert list(kept.read(run.caption_file(2))) == validation[1:]
    epochs = [row for row in run.log() if row["kind"] == "epoch"]
    assert [row["scores"]["images"] for row in epochs] == [len(validation) - 1] * 3
    probes = [row["captions"] for row in run.log() if row["kind"] == "probe"]
    assert all(said[0] == "" for said in probes)


def test_a_run_whose_pictures_are_all_gone_ends_with_a_sentence(workspace, tmp_path, blip, shapes):
    data = tmp_path / "shapes"
    shutil.copytree(shapes, data)
    run = models.new_run(workspace, blip, data, method="full")
    for row in run.examples("train"):
        Path(row["path"]).unlink()
    with pytest.raises(UserError, match="No training image can be opened any more"):
        work(run, workspace)
    assert run.status().state == "failed"


def test_smoothing_shapes_the_gradient_and_not_the_loss_that_is_told(workspace, blip, shapes):
    plain, smooth = (
        next(row["loss"] for row in log_of(workspace, blip, shapes, name, label_smoothing=share) if row["kind"] == "step")
        for name, share in (("plain", 0.0), ("smooth", 0.3))
    )
    assert plain == smooth


def test_the_smoothed_loss_is_torch_s_own_and_costs_no_second_look(workspace, blip, shapes):
    captioner = loaded(models.new_run(workspace, blip, shapes), workspace).captioner
    captioner.model.eval()
    features = captioner.encode_pixels(torch.rand(3, 3, 32, 32))
    ids, mask = captioner.ids(["a red square on the white circle", "blue", "a circle"])
    scores, looks = captioner.logits(features, ids, mask), []
    captioner.logits = lambda features, ids, mask, owner, kept: looks.append(1) or scores[kept]
    plain, smoothed, _ = captioner.losses(features, ids, mask, smoothing=0.1)
    flat, labels = scores[:, :-1].flatten(0, 1), ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100).flatten()
    assert torch.allclose(plain, F.cross_entropy(flat, labels, reduction="sum"))
    assert torch.allclose(smoothed, F.cross_entropy(flat, labels, reduction="sum", label_smoothing=0.1))
    assert len(looks) == 1


def test_a_long_run_is_looked_over_at_every_tenth_step_and_at_each_probe_and_epoch(workspace, blip, shapes):
    watch = finetune.Watch(models.new_run(workspace, blip, shapes), 100)
    due = [step for step in range(1, 201) if watch.due(Progress("step", 1, step, {}))]
    assert due == [*range(1, 50), *range(50, 201, 10)]
    assert all(watch.due(Progress(kind, 1, 77, {})) for kind in ("probe", "epoch"))


def log_of(workspace, blip, shapes, name, **values) -> list[dict]:
    run = models.new_run(workspace, blip, shapes, name=name, epochs=1, **values)
    work(run, workspace)
    return run.log()


def test_a_damaged_state_is_told_with_the_remedy(workspace, blip, shapes):
    run = models.new_run(workspace, blip, shapes)
    stopped_at(run, workspace, 1)
    (run.folder / "resume" / "state.pt").write_bytes(b"no state")
    with pytest.raises(UserError, match="state.pt is damaged.*Delete that file"):
        work(run, workspace)


def test_checkpoints_are_safetensors_only(whole, workspace, blip, shapes):
    assert not list(whole.folder.glob("epoch-*/*.bin"))
    assert list(whole.folder.glob("epoch-1/*.safetensors"))
