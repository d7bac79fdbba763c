"""Networks of the kinds that people bring, small, with random weights, and inputs for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from snnconvert.models.unet import UNet, UNetConfig


def images(batch: int = 8, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(batch, channels, size, size)


def times(batch: int = 8) -> torch.Tensor:
    return torch.rand(batch)


class ConcatUNet(nn.Module):
    """Concatenation, interpolation and transposed convolution, functional activations."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.c, self.d = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        first = F.relu(self.a(x))
        second = self.b(first).relu()
        up = torch.relu_(self.up(second))
        both = torch.cat([up, F.interpolate(second[:, :8], scale_factor=2, mode="bilinear")], 1)
        return torch.tanh(self.d(F.relu6(self.c(both) + first)))


class PlanarDenoiser(nn.Module):
    """An MLP that moves points of the plane; the time as Fourier features (flow matching)."""

    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(8) * 4)
        self.net = nn.Sequential(
            nn.Linear(18, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, 2)
        )

    def forward(self, x, t):
        angles = 2 * torch.pi * t[:, None] * self.frequencies
        return self.net(torch.cat([x, angles.sin(), angles.cos()], -1))


class WholeImageNorm(nn.Module):
    """LayerNorm over whole images, as in the simplest diffusion tutorials, class-conditional."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.time = nn.Embedding(10, 8), nn.Linear(1, 8)
        self.norm1, self.norm2 = nn.LayerNorm((1, 16, 16)), nn.LayerNorm((8, 16, 16))
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x, t, label):
        h = F.silu(self.a(self.norm1(x)))
        h = h + (self.embed(label) + self.time(t.float()[:, None]))[:, :, None, None]
        return self.out(F.silu(self.b(self.norm2(h))))


class ScoreModel(nn.Module):
    """Divides its output by the standard deviation at t, clamped from below; hand-written swish."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.randn(8) * 3)
        self.embed, self.dense = nn.Linear(16, 16), nn.Linear(16, 8)
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)

    @staticmethod
    def act(x):
        return x * torch.sigmoid(x)

    def forward(self, x, t):
        proj = t[:, None] * self.w[None] * 2 * torch.pi
        embed = self.act(self.embed(torch.cat([proj.sin(), proj.cos()], -1)))
        h = self.act(self.norm(self.a(x) + self.dense(embed)[..., None, None]))
        std = ((25.0 ** (2 * t) - 1) / 2 / 3.2).sqrt().clamp(min=1e-3)
        return self.b(h) / std[:, None, None, None]


class BatchNormBothSides(nn.Module):
    """BatchNorm before and after ReLU, and a max pool, with in-place everything."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.n1, self.n2, self.n3 = (nn.BatchNorm2d(8) for _ in range(3))
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 4)
        for norm in (self.n1, self.n2, self.n3):
            nn.init.uniform_(norm.running_mean, -0.3, 0.3)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)

    def forward(self, x):
        h = self.n2(self.act(self.n1(self.a(x))))
        h = F.max_pool2d(h, 2)
        h += self.act(self.n3(self.b(h)))
        h[:, :2] *= 0.5
        return self.head(F.dropout(h, 0.5, self.training).mean((2, 3)))


@dataclass
class Prediction:
    sample: torch.Tensor
    features: tuple
    missing: None = None


class KeywordOnly(nn.Module):
    """Keyword arguments, an optional one, and a plain dataclass as its result."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)

    def forward(self, sample, *, scale=None, extras=None):
        h = F.gelu(self.a(sample))
        if scale is not None:
            h = h * scale[:, None, None, None]
        for extra in extras or ():
            h = h + extra
        return Prediction(self.b(h), (h.mean((2, 3)),))


def visual_transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, std=0.1)
    return model


class GatedTransformer(nn.Module):
    """Pre-norm attention and SwiGLU feed-forwards: every activation is a gate."""

    def __init__(self, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2 * blocks))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, (qkv, up, down) in enumerate(zip(self.qkv, self.up, self.down, strict=True)):
            queries, keys, values = qkv(self.norms[2 * i](x)).chunk(3, dim=-1)
            x = x + F.scaled_dot_product_attention(queries, keys, values)
            gate, value = up(self.norms[2 * i + 1](x)).chunk(2, dim=-1)
            x = x + down(F.silu(gate) * value)
        return x


def attention_unet(act: type[nn.Module] = nn.ReLU) -> nn.Module:
    """The U-Net of pytorch-ddpm with attention; its activations as given."""
    config = UNetConfig(3, 16, (1, 2), 1, (1,), groups=4, dropout=0.1)
    model = UNet(config)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, a=1.0)
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(module, name, act())
    return model


def diffusers_unet() -> nn.Module:
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    """One of torchvision's with random weights under which its signal reaches the output."""
    import torchvision

    options = {"image_size": 32} if name.startswith("vit") else {}
    model = getattr(torchvision.models, name)(weights=None, num_classes=10, **options)
    for module in model.modules():
        if isinstance(module, nn.Linear):  # the last layer of a ViT starts at zero
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(getattr(module, "layer_scale", None), nn.Parameter):  # starts at 1e-6
            nn.init.ones_(module.layer_scale)
        if isinstance(module, nn.Conv2d) and name.startswith("shufflenet"):  # fades otherwise
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


# name: (network, example inputs)
FAST = {
    "resnet18": lambda: (torchvision_model("resnet18"), images()),
    "shufflenet_v2_x0_5": lambda: (torchvision_model("shufflenet_v2_x0_5"), images(size=64)),
    "transformer encoder": lambda: (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2),
        torch.randn(8, 5, 16),
    ),
    "transformer encoder, norm first, GELU": lambda: (
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, norm_first=True, activation="gelu"), 2,
            enable_nested_tensor=False,
        ),
        torch.randn(8, 5, 16),
    ),
    "transformer, SwiGLU": lambda: (GatedTransformer(), torch.randn(8, 5, 16)),
    "vision transformer": lambda: (visual_transformer(), images()),
    "U-Net with concat, interpolate, transposed conv": lambda: (ConcatUNet(), images()),
    "DDPM U-Net, attention, ReLU": lambda: (attention_unet(), (images(size=16), times() * 999)),
    "DDPM U-Net, attention, SiLU": lambda: (
        attention_unet(nn.SiLU), (images(size=16), times() * 999),
    ),
    "MLP denoiser in the plane": lambda: (PlanarDenoiser(), (torch.randn(64, 2), times(64))),
    "flow matching, Fourier features, SiLU": lambda: (
        PlanarDenoiser(nn.SiLU), (torch.randn(64, 2), times(64)),
    ),
    "LayerNorm over whole images, class-conditional": lambda: (
        WholeImageNorm(),
        (images(8, 1, 16), torch.randint(1000, (8,)), torch.randint(10, (8,))),
    ),
    "score model that divides by a std": lambda: (ScoreModel(), (images(8, 1, 16), times())),
    "BatchNorm before and after ReLU": lambda: (BatchNormBothSides(), images(size=16)),
    "keywords, dataclass result": lambda: (
        KeywordOnly(),
        {"sample": images(size=12), "scale": times(), "extras": [torch.randn(8, 1, 10, 10)]},
    ),
}  # fmt: skip
SLOW = {
    name: (lambda name=name: (torchvision_model(name), images(4)))
    for name in ("vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "convnext_tiny",
                 "efficientnet_b0", "swin_t", "vit_b_16")
}  # fmt: skip
SLOW["diffusers UNet2DModel"] = lambda: (
    diffusers_unet(), (images(4, 3, 16), torch.randint(1000, (4,))),
)  # fmt: skip
