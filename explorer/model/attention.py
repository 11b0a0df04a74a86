"""Where a captioner looked while it wrote each word: its attention over the image's patches, weighted by gradients.

The map of a word is, summed over layers and over the words so far, the attention to each patch times the positive
part of the gradient of the word's score by that attention, averaged over heads (Selvaraju et al., "Grad-CAM", 2017,
as Li et al. apply it to cross-attention in "ALBEF", 2021, and "BLIP", 2022). To it is added, in equal parts, the plain
attention of the last layer: on drawn scenes `pointing` finds the two together to hit things more surely than gradients
alone, whose maps change more from base to base. A word of several tokens has the mean of their maps. Patches are
coarse, so the picture is looked at twice, the second time moved by half a patch: together the two tell halves of a
patch apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from explorer.errors import UserError
from explorer.model.captioner import Captioner


@dataclass(frozen=True)
class Recorded:
    """One caption fed once for each of its tokens, so that each has gradients of its own; T tokens, P patches.

    attention, gradient: a tensor [T, heads, T + 1, P] a layer; copy t asks for token t, which row t predicts.
    """

    attention: list[torch.Tensor]
    gradient: list[torch.Tensor]

    def own_rows(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """[T, heads, P] a layer: of copy t the row that predicts token t."""
        places = torch.arange(len(tensors[0]))
        return [tensor[places, :, places] for tensor in tensors]


def plain(recorded: Recorded) -> torch.Tensor:
    """[T, P]: attention of the row that predicts the word, mean over heads and layers."""
    return torch.stack([rows.mean(1) for rows in recorded.own_rows(recorded.attention)]).mean(0)


def plain_last(recorded: Recorded) -> torch.Tensor:
    return recorded.own_rows(recorded.attention)[-1].mean(1)


def weighted_layers(recorded: Recorded) -> torch.Tensor:
    """[layers, T, P]: attention times positive gradient, mean over heads, summed over all rows up to the word's."""
    pairs = zip(recorded.attention, recorded.gradient, strict=True)
    return torch.stack([(attention * gradient.clamp(min=0)).mean(1).sum(1) for attention, gradient in pairs])


def weighted(recorded: Recorded) -> torch.Tensor:
    return weighted_layers(recorded).sum(0)


def weighted_own_row(recorded: Recorded) -> torch.Tensor:
    rows = zip(recorded.own_rows(recorded.attention), recorded.own_rows(recorded.gradient), strict=True)
    return torch.stack([(attention * gradient.clamp(min=0)).mean(1) for attention, gradient in rows]).sum(0)


def weighted_signed(recorded: Recorded) -> torch.Tensor:
    pairs = zip(recorded.attention, recorded.gradient, strict=True)
    return torch.stack([(attention * gradient).mean(1).sum(1) for attention, gradient in pairs]).sum(0).clamp(min=0)


def weighted_and_last(recorded: Recorded) -> torch.Tensor:
    """Half what had a good influence, half where the last layer looks: each alone misses what the other finds."""
    return sum(rows / rows.sum(-1, keepdim=True).clamp(min=1e-12) for rows in (weighted(recorded), plain_last(recorded)))


METHODS: dict[str, Callable[[Recorded], torch.Tensor]] = {
    "attention, mean of layers": plain,
    "attention, last layer": plain_last,
    "attention x positive gradient, word's row, all layers": weighted_own_row,
    "attention x signed gradient, all rows, all layers": weighted_signed,
    "attention x positive gradient, all rows, first layer": lambda recorded: weighted_layers(recorded)[0],
    "attention x positive gradient, all rows, last layer": lambda recorded: weighted_layers(recorded)[-1],
    "attention x positive gradient, all rows, all layers": weighted,
    "attention x positive gradient, and the last layer's attention": weighted_and_last,
}
"""Ways to make a map [T, P] of one pass forth and back; the page's is the last one."""
PAGE = "attention x positive gradient, and the last layer's attention"


def picture_maps(captioner: Captioner, picture: Image.Image, text: str) -> np.ndarray:
    """[words, 2 x rows, 2 x columns] float32 of the words of ``text`` over the part of an RGB picture the model sees.

    The mean of the maps of the picture and of the same picture moved by half a patch; each sums to 1.
    """
    return two_looks(*(word_maps(captioner, features, text) for features in both_features(captioner, picture)))


def both_features(captioner: Captioner, picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [1, patches, width] of a picture, and of it moved by half a patch."""
    pixels = captioner.pixels([picture])
    features = encoded(captioner, pixels)
    return features, encoded(captioner, moved(pixels, *grid_of(features.shape[1])[1:]))


def encoded(captioner: Captioner, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return captioner.encode_pixels(pixels).float()


def moved(pixels: torch.Tensor, high: int, wide: int) -> torch.Tensor:
    """Pixels [1, 3, h, w] of ``high`` by ``wide`` patches moved up and left by half a patch, the last ones repeated."""
    down, right = pixels.shape[2] // high // 2, pixels.shape[3] // wide // 2
    return torch.nn.functional.pad(pixels, (0, right, 0, down), mode="replicate")[..., down:, right:]


def two_looks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Maps [..., rows, columns] of a picture and of the moved one as maps [..., 2 x rows, 2 x columns] that sum to 1."""
    fine = [maps.repeat(2, -2).repeat(2, -1) for maps in (first, second)]
    back = np.zeros_like(fine[1])
    back[..., 1:, 1:] = fine[1][..., :-1, :-1]
    both = fine[0] + back
    return both / np.maximum(both.sum((-2, -1), keepdims=True), 1e-12)


def word_maps(captioner: Captioner, features: torch.Tensor, text: str, method: Callable = METHODS[PAGE]) -> np.ndarray:
    """[words, rows, columns] float32 of the words of ``text`` over the patches of one image; each map sums to 1.

    features [1, patches, width]. Raises UserError for a model whose patches form no square or that has no attention
    over them. A word on which nothing of the image had a good influence gets the plain attention instead.
    """
    tokens = captioner.ids([text])[0][0].tolist()[1:-1]
    if not tokens:
        return np.zeros((0, *grid_of(features.shape[1])[1:]), np.float32)
    recorded = record(captioner, features, tokens)
    rows = method(recorded)
    rows = torch.where(rows.sum(-1, keepdim=True) > 0, rows, plain(recorded))
    return of_words(captioner, tokens, text, on_grid(rows.float().cpu().numpy()))


def record(captioner: Captioner, features: torch.Tensor, tokens: list[int]) -> Recorded:
    """Attention over the patches and its gradients while ``tokens`` are predicted one by one."""
    captioner.model.eval()
    ids = torch.tensor([[captioner.start, *tokens]] * len(tokens), device=captioner.device)
    copies = features.detach().clone().float().expand(len(tokens), -1, -1).clone().requires_grad_()
    with torch.inference_mode(False), torch.enable_grad(), _watched(captioner) as seen:
        places = torch.arange(len(tokens), device=captioner.device)
        whole = torch.ones_like(ids)
        logits = captioner.family.logits(captioner.model, copies, places, ids, whole, whole == 1).float().view(*ids.shape, -1)
        target = logits[places, places, ids[0, 1:]].sum()
        if not seen:
            raise UserError(f"{captioner.base} shows no attention over the image, so where it looked cannot be drawn.")
        gradients = torch.autograd.grad(target, seen, allow_unused=True)
    filled = [torch.zeros_like(a) if g is None else g for a, g in zip(seen, gradients, strict=True)]
    patches = features.shape[1]
    return Recorded([_over_image(a, patches, ids) for a in seen], [_over_image(g, patches, ids) for g in filled])


def _over_image(attention: torch.Tensor, patches: int, ids: torch.Tensor) -> torch.Tensor:
    """The rows of the text and the columns of the patches: GIT reads patches and text as one row of tokens."""
    return attention.detach()[:, :, -ids.shape[1] :, :patches]


@contextmanager
def _watched(captioner: Captioner) -> Iterator[list[torch.Tensor]]:
    """While open, the attention over the image of each layer is put into the list, ready for gradients."""
    seen: list[torch.Tensor] = []
    modules = _attentions(captioner)

    def keep(module, inputs, output) -> None:
        found = [o for o in output if isinstance(o, torch.Tensor) and o.dim() == 4] if isinstance(output, tuple) else []
        if found and not any(found[0] is known for known in seen):
            seen.append(found[0])

    hooks = [module.register_forward_hook(keep) for module in modules]
    # Fast attention gives no probabilities: for one pass each module goes back to its own, slow way.
    fast = [(module, module.__dict__.pop("forward")) for module in modules if "forward" in module.__dict__]
    configs = [config for module in modules if (config := getattr(module, "config", None)) is not None]
    ways = [(config, config._attn_implementation) for config in {id(c): c for c in configs}.values()]
    try:
        for config, _ in ways:
            config._attn_implementation = "eager"
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for module, forward in fast:
            module.forward = forward
        for config, way in ways:
            config._attn_implementation = way


def _attentions(captioner: Captioner) -> list[torch.nn.Module]:
    """The modules that attend to the image: cross-attention, or GIT's self-attention over patches and text."""
    if captioner.family.name == "git":
        return [layer.attention.self for layer in captioner.model.git.encoder.layer]
    vision = {id(module) for module in captioner.family.vision(captioner.model).modules()}
    named = ((name.rsplit(".", 2), module) for name, module in captioner.model.named_modules() if id(module) not in vision)
    return [module for parts, module in named if any("crossattention" in part or "encoder_attn" in part for part in parts[-2:])]


# --- from tokens to words, from patches to a grid ---------------------------------------------------------


def of_words(captioner: Captioner, tokens: list[int], text: str, maps: np.ndarray) -> np.ndarray:
    """[words, rows, columns] of maps [T, rows, columns]: the mean over each word's tokens, summing to 1."""
    letters, at, found = captioner.letters(tokens), 0, []
    for word in text.split():
        places = sorted({place for places in letters[at : at + len(word)] for place in places})
        at += len(word)
        each = maps[places].mean(0) if places else np.ones(maps.shape[1:], np.float32)
        found.append(each / max(float(each.sum()), 1e-12))
    return np.stack(found).astype(np.float32) if found else np.zeros((0, *maps.shape[1:]), np.float32)


def grid_of(patches: int) -> tuple[int, int, int]:
    """(tokens before the patches, rows, columns) of ``patches`` features: a square, after a class token or two or none."""
    for lead in (1, 0, 2):
        side = isqrt(max(0, patches - lead))
        if side and side * side == patches - lead:
            return lead, side, side
    raise UserError(f"The image's {patches} features form no square of patches, so where the model looked cannot be drawn.")


def on_grid(rows: np.ndarray) -> np.ndarray:
    """Numbers of features [..., P] as maps of the image [..., rows, columns], the class token left out."""
    lead, high, wide = grid_of(rows.shape[-1])
    return rows[..., lead:].reshape(*rows.shape[:-1], high, wide)


def seen_part(processor, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a picture that a model sees, 0 to 1: GIT's processor cuts the middle out."""
    settings = SimpleNamespace(**{"do_center_crop": False, "crop_size": None, "size": None, **processor.to_dict()})
    short = (settings.size or {}).get("shortest_edge")
    if not settings.do_center_crop or not short or not settings.crop_size:
        return 0.0, 0.0, 1.0, 1.0
    scale = short / min(width, height)
    wide = min(1.0, settings.crop_size["width"] / (width * scale))
    high = min(1.0, settings.crop_size["height"] / (height * scale))
    return (1 - wide) / 2, (1 - high) / 2, (1 + wide) / 2, (1 + high) / 2
