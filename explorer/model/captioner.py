"""A captioning model behind one interface: encode images once, score and decode captions over the features.

Text is always start token, caption tokens, end token; pads are masked here, because the models do not do it.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from explorer import lazy
from explorer.errors import UserError
from explorer.model import origin
from explorer.model.captions import Caption, Decoding
from explorer.model.families import FAMILIES, Family, text_limit
from explorer.model.fast_attention import make_fast
from explorer.model.mixture import mixture


class ModelError(UserError):
    """A base or checkpoint that cannot be opened or used for captioning."""


# --- loading ----------------------------------------------------------------------------------------------


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


FULL_PRECISION_BELOW = 60e6
"""Weights below which a model stays in full precision on a CPU: it is quick anyway, and says the same on every machine."""


def working_type(device: torch.device, size: int) -> torch.dtype | None:
    """The half precision for a model of ``size`` weights on ``device``; None for full precision."""
    return None if device.type == "cpu" and size < FULL_PRECISION_BELOW else half_type(device)


def half_type(device: torch.device) -> torch.dtype | None:
    """The half precision that makes ``device`` faster; None when full precision is as fast."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None) or getattr(torch.cpu, "is_avx512_bf16_supported", None)
    return torch.bfloat16 if has is not None and has() else None


def _open(base: str, load: Callable, what: str):
    """``load(base)`` with whatever goes wrong told as a sentence."""
    try:
        return load(at_hand(base))
    except UserError:
        raise
    except Exception as error:  # transformers, safetensors and peft each raise kinds of their own
        reason = f"its {what} cannot be read: {_first_line(error)}" if Path(base).exists() else UNREACHABLE.format(what=what)
        raise ModelError(f"The base {base!r} cannot be opened: {reason}.") from error


UNREACHABLE = "its {what} could not be fetched from the Hub: check the id, the connection, and HF_TOKEN if it is private"


@lru_cache(maxsize=64)
def at_hand(base: str) -> str:
    """Where to load ``base`` from: itself, or what was downloaded of it before when the Hub does not answer.

    transformers would try an absent Hub for half a minute. Raises ModelError for what can be nowhere.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if Path(base).exists():
        return base
    if base.count("/") != 1 or base.startswith((".", "/", "~")):
        raise ModelError(f"The base {base!r} cannot be opened: there is no such folder, and a Hub id looks like owner/name.")
    try:
        if not constants.HF_HUB_OFFLINE:
            get_hf_file_metadata(hf_hub_url(base, "config.json"))
            return base
    except HfHubHTTPError:  # it answers: what it refuses is told when the file is asked for
        return base
    except Exception:  # no connection, in any of the ways an HTTP client has of saying so
        pass
    try:
        return snapshot_download(base, local_files_only=True)
    except Exception as error:
        raise ModelError(f"The base {base!r} cannot be opened: {UNREACHABLE.format(what='config')}.") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def load_config(base: str):
    return _open(origin.unfold(base)[0], lazy.transformers().AutoConfig.from_pretrained, "config")


def family_of(base: str) -> Family:
    """The family of a base, from its config alone. Raises ModelError when it is none of `FAMILIES`."""
    kind = load_config(base).model_type
    if kind not in FAMILIES:
        raise ModelError(f"The base {base!r} is a {kind} model; the explorer fine-tunes {', '.join(FAMILIES)}.")
    return FAMILIES[kind]


def load_tokenizer(base: str):
    """The base's tokenizer. Without its files transformers makes an empty one, to which every word is unknown."""
    tokenizer = _open(origin.unfold(base)[0], lazy.transformers().AutoTokenizer.from_pretrained, "tokenizer")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(
            f"The base {base!r} cannot be opened: its tokenizer cannot be read: it has no words; add tokenizer.json or vocab.txt."
        )
    return tokenizer


@dataclass
class Captioner:
    """A model with its tokenizer and image processor, on one device.

    ``dtype`` is the half precision of autocast, None for full precision.
    """

    base: str
    family: Family
    model: nn.Module
    tokenizer: object
    processor: object
    device: torch.device
    dtype: torch.dtype | None
    peft: nn.Module | None = None

    def use(self, adapter: Path | None) -> Captioner:
        """Caption with a LoRA adapter, or with the bare base. Adapters stay loaded; they are small."""
        name = self.hold(adapter)
        if self.peft is not None:
            if name is None:
                self.peft.base_model.disable_adapter_layers()
            else:
                self.peft.base_model.enable_adapter_layers()
                self.peft.set_adapter(name)
        self.model.eval()
        return self

    def hold(self, adapter: Path | None) -> str | None:
        """The name of a LoRA adapter that is loaded now, if it was not before; None is the bare base."""
        name = adapter_name(adapter) if adapter is not None else None
        if name and (self.peft is None or name not in self.peft.peft_config):
            self._add(adapter, name)
        return name

    def sees_as_base(self, adapter: Path | None) -> bool:
        """Whether the vision tower is the bare base's under ``adapter``."""
        name = self.hold(adapter)
        return not any(name in getattr(part, "lora_A", ()) for part in self.family.vision(self.model).modules())

    def _add(self, adapter: Path, name: str) -> None:
        from peft import PeftModel

        if self.peft is None:
            self.peft = _open(str(adapter), lambda folder: PeftModel.from_pretrained(self.model, folder, adapter_name=name), "adapter")
        else:
            _open(str(adapter), lambda folder: self.peft.load_adapter(folder, adapter_name=name), "adapter")

    @property
    def start(self) -> int:
        return self.family.ends(self.model, self.tokenizer)[0]

    @property
    def end(self) -> int:
        return self.family.ends(self.model, self.tokenizer)[1]

    @property
    def vocabulary(self) -> int:
        config = self.model.config
        return getattr(config, "vocab_size", None) or (getattr(config, "text_config", None) or config.decoder).vocab_size

    @property
    def max_tokens(self) -> int:
        return text_limit(self.model.config)

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()

    def choosing(self):
        """The precision in which words are chosen. Where two are nearly as likely, half precision may take the other one;
        on a CPU it gains little over full precision there, and for a few rows it is slower."""
        return nullcontext() if self.device.type == "cpu" else self.autocast()

    # -- images

    def pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """RGB pictures of any size as float [n, 3, h, w], the way the base's own image processor does it."""
        return self.processor(images=list(images), return_tensors="pt")["pixel_values"].to(self.device)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return self.family.encode(self.model, pixels)

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Features [n, patches, width] of RGB pictures."""
        # The tower alone: the decoder may be learning in another thread, and keeps its dropout.
        self.family.vision(self.model).eval()
        return as_kept(self.encode_pixels(self.pixels(images)))

    # -- text

    def token_count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) + 2

    def ids(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, mask) [n, longest]: start, caption, end, then masked pads. Over-long captions are cut at the end."""
        room = self.max_tokens - 2
        rows = [self.tokenizer(text, add_special_tokens=False)["input_ids"][:room] for text in texts]
        return self.pad([[self.start, *row, self.end] for row in rows])

    def pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, rows))
        filler = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end
        ids = torch.tensor([row + [filler] * (longest - len(row)) for row in rows], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.device)
        return ids, mask

    def logits(self, features, ids, mask, owner=None, kept=None) -> torch.Tensor:
        """Scores of the next token in float32 [rows, length, vocabulary], or [places, vocabulary] where ``kept`` is true.

        ``owner`` [rows]: the image of each row when an image has several; else row r is of image r.
        """
        owner = torch.arange(len(ids), device=ids.device) if owner is None else owner
        places = torch.ones_like(mask, dtype=torch.bool) if kept is None else kept
        with self.autocast():
            scores = self.family.logits(self.model, features, owner, ids, mask, places).float()
        return scores.view(*ids.shape, -1) if kept is None else scores

    def loss_sum(self, features, ids, mask, owner=None) -> tuple[torch.Tensor, int]:
        """(cross-entropy summed over caption and end tokens, their number): neither pads nor the start are in it."""
        plain, _, tokens = self.losses(features, ids, mask, owner=owner)
        return plain, tokens

    def losses(self, features, ids, mask, smoothing: float = 0.0, owner=None) -> tuple[torch.Tensor, torch.Tensor, int]:
        """(plain cross-entropy sum, label-smoothed sum to learn from, tokens).

        Smoothing as Szegedy et al., 2016: a share of the target is spread evenly over the vocabulary.
        """
        kept = F.pad(mask[:, 1:], (0, 1)) == 1  # a place predicts the next one; the last predicts nothing
        labels = ids[:, 1:][kept[:, :-1]]
        if len(labels) != int(mask.sum()) - len(ids):
            raise AssertionError("the loss must cover each caption token and end token once, and nothing else")
        chances = F.log_softmax(self.logits(features, ids, mask, owner, kept), dim=-1)
        plain = F.nll_loss(chances, labels, reduction="sum")
        if not smoothing:
            return plain, plain, len(labels)
        return plain, (1 - smoothing) * plain - smoothing * chances.mean(-1).sum(), len(labels)

    # -- captions

    def caption(self, features: torch.Tensor, decoding: Decoding = Decoding()) -> list[Caption]:
        """One caption an image, with each word's probability. features [n, patches, width]."""
        return self._captions(features, torch.arange(len(features), device=features.device), decoding)

    def caption_each(
        self, features: Sequence[torch.Tensor], adapters: Sequence[Path | None], decoding: Decoding = Decoding()
    ) -> list[list[Caption]]:
        """What several adapters (None: the bare base) say of the same images, decoded in one batch; a list an adapter.

        ``features``: for each adapter what its tower sees of the images; the same tensor where the tower is the same.
        """
        names = [self.hold(adapter) for adapter in adapters]
        together = all(each is features[0] for each in features)
        seen = features[0] if together else torch.cat(list(features))
        owner = torch.arange(len(seen), device=seen.device).repeat(len(names) if together else 1)
        with mixture(self.peft, names) if self.peft is not None else nullcontext():
            found = self._captions(seen, owner, decoding)
        count = len(features[0])
        return [found[start : start + count] for start in range(0, len(found), count)]

    @torch.inference_mode()
    def _captions(self, features: torch.Tensor, owner: torch.Tensor, decoding: Decoding) -> list[Caption]:
        """The caption of each row of ``owner``."""
        self.model.eval()
        prompt = self.tokenizer(decoding.prompt, add_special_tokens=False)["input_ids"] if decoding.prompt else []
        room = self.max_tokens - len(prompt) - 2
        if room < 1:
            raise UserError(f"The prompt {decoding.prompt!r} is too long for {self.base}: it takes {self.max_tokens} tokens.")
        ids, mask = self.pad([[self.start, *prompt]] * len(owner))
        options = dict(
            max_new_tokens=min(decoding.max_tokens, room),
            num_beams=decoding.beams,
            do_sample=False,
            eos_token_id=self.end,
            bos_token_id=self.start,
            pad_token_id=self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end,
            return_dict_in_generate=True,
            output_logits=decoding.beams == 1,
        )
        with self.choosing():
            out = self.family.generate(self.model, features, owner, ids.clone(), mask, **options)
        rows = [cut(row[1:], self.end) for row in out.sequences.tolist()]
        if decoding.beams == 1:
            chances = self.chosen(out.sequences[:, ids.shape[1] :], out.logits, len(prompt))
        else:
            chances = self.confidences(features, owner, rows)
        return [self.compose(row, chance[: len(row)], len(prompt)) for row, chance in zip(rows, chances, strict=True)]

    def chosen(self, tokens: torch.Tensor, logits: Sequence[torch.Tensor], prompt: int) -> list[list[float]]:
        """Probabilities of greedy tokens [rows, length], from the scores that chose them; those of the prompt are not asked for."""
        picked = [scores.float().softmax(-1).gather(1, column[:, None]) for scores, column in zip(logits, tokens.T, strict=True)]
        return [[1.0] * prompt + row for row in torch.cat(picked, dim=1).tolist()]

    def confidences(self, features: torch.Tensor, owner: torch.Tensor, rows: list[list[int]]) -> list[list[float]]:
        """The probability of each token of each row under this model, read off in one pass."""
        ids, mask = self.pad([[self.start, *row] for row in rows])
        chances = F.softmax(self.logits(features, ids, mask, owner)[:, :-1], dim=-1)
        return chances.gather(-1, ids[:, 1:, None])[..., 0].tolist()

    def compose(self, tokens: list[int], chances: list[float], prompt: int) -> Caption:
        finished = bool(tokens) and tokens[-1] == self.end
        tokens = tokens[:-1] if finished else tokens
        text = clean(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return Caption(text, *self.words(tokens, chances, text, prompt), finished)

    def words(self, tokens, chances, text: str, prompt: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """The words of ``text`` and their probabilities: tokens are laid over the text letter by letter."""
        words, products = text.split(), []
        letters, at = self.letters(tokens), 0
        for word in words:
            places = {place for places in letters[at : at + len(word)] for place in places}
            at += len(word)
            products.append(math.prod((chances[place] for place in sorted(places) if place >= prompt), start=1.0))
        return tuple(words), tuple(products)

    def letters(self, tokens: list[int]) -> list[tuple[int, ...]]:
        """For each letter of the decoded tokens, blanks left out, the places of the tokens that spell it.

        Beginnings of the row are decoded, not single tokens: one letter may take several byte-level tokens.
        """
        spelled: list[tuple[int, ...]] = []
        waiting: list[int] = []
        special = set(self.tokenizer.all_special_ids)
        for place, token in enumerate(tokens):
            if token in special:
                continue
            waiting.append(place)
            text = "".join(self.tokenizer.decode(tokens[: place + 1], skip_special_tokens=True).split())
            if place + 1 < len(tokens):
                text = text.rstrip("\ufffd")  # the first bytes of a letter that the next token completes
            if len(text) > len(spelled):
                spelled += [tuple(waiting)] * (len(text) - len(spelled))
                waiting = []
        return spelled

    # -- what identifies the features

    def vision_fingerprint(self) -> str:
        """16 hex digits that change when the vision tower's weights or the image processing change.

        A pooler gives no features; where a checkpoint has none, each load draws it anew. Adapters do not count.
        """
        digest = hashlib.sha256(self.processor.to_json_string().encode())
        for name, weight in self.family.vision(self.model).state_dict().items():
            if "pooler" in name or "lora_" in name:
                continue
            digest.update(name.replace(".base_layer", "").encode())
            digest.update(weight.detach().cpu().contiguous().float().numpy().tobytes())
        return digest.hexdigest()[:16]


def adapter_name(folder: Path) -> str:
    """A name for peft, which takes no dots: another one once the weights in ``folder`` are others."""
    weights = folder / "adapter_model.safetensors"
    made = weights.stat().st_mtime_ns if weights.exists() else 0
    return hashlib.sha256(f"{folder}|{made}".encode()).hexdigest()[:16]


def as_kept(features: torch.Tensor) -> torch.Tensor:
    """Float32 features as half precision keeps them on disk, so that a caption is the same from kept ones and fresh ones.

    What the half format cannot hold would come back as infinity: it is cut at the format's ends.
    """
    return features.float().clamp(-65504, 65504).half().float()


def cut(tokens: list[int], end: int) -> list[int]:
    """``tokens`` up to and with the first end token."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def clean(text: str) -> str:
    return " ".join(text.split())


def be_quiet() -> None:
    """No progress bars and load reports from transformers: what matters is told as a sentence."""
    from transformers.utils import logging

    # peft sees for itself which way round a layer keeps its weights.
    warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def whole(base: str, model: nn.Module, report: dict) -> nn.Module:
    """``model`` when its file held all it needs. Raises ModelError when parts would be random; poolers are not used."""
    missing = [name for name in report.get("missing_keys", ()) if "pooler" not in name and "position_ids" not in name]
    if missing:
        raise ModelError(
            f"The base {base!r} cannot be used: its weights lack {len(missing)} parts the model needs, such as {sorted(missing)[0]}. "
            "It was saved from another kind of model."
        )
    return model


def merged(model: nn.Module, adapters: Sequence[Path]) -> nn.Module:
    """``model`` with LoRA adapters worked into its weights, one after the other (Hu et al., 2021: W + BA)."""
    for adapter in adapters:
        from peft import PeftModel

        model = _open(str(adapter), lambda folder: PeftModel.from_pretrained(model, folder).merge_and_unload(), "adapter")  # noqa: B023
        model.requires_grad_(True)  # peft has frozen it, and a full fine-tune may follow
    return model


def load(base: str, device: torch.device | None = None) -> Captioner:
    """Open a base from a Hub id or a folder; a folder of a checkpoint or of a run's start is unfolded (see origin.py).

    Safetensors only, and no code from the repository is run. Raises ModelError with the remedy.
    """
    transformers = lazy.transformers()
    family, (root, adapters) = family_of(base), origin.unfold(base)
    device = device or best_device()
    be_quiet()
    options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    opened = _open(root, lambda name: transformers.AutoModelForImageTextToText.from_pretrained(name, **options), "weights")
    model = merged(whole(root, *opened), adapters)
    processor = _open(root, lambda name: transformers.AutoImageProcessor.from_pretrained(name, backend="pil"), "image processor")
    half = working_type(device, sum(weight.numel() for weight in model.parameters()))
    model = make_fast(model, half).to(device).eval()
    return Captioner(base, family, model, load_tokenizer(base), processor, device, half)
