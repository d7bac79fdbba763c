"""Command lines that every `--help` ends with; the tests parse them."""

from __future__ import annotations

EXAMPLES = {
    "demo": ("snnconvert demo", "snnconvert demo -n 16 --steps 50 -o try"),
    "recipes": ("snnconvert recipes", "snnconvert recipes fashion-unet > mine.toml"),
    "train": (
        "snnconvert train fashion-unet --dry-run",
        "snnconvert train mine.toml --set steps=20000 -o mine.pt",
    ),
    "check": (
        "snnconvert check --model torchvision.models:resnet18 --example-shape 2,3,32,32",
        "snnconvert check network.onnx",
    ),
    "convert": (
        "snnconvert convert unet.pt --timesteps 4",
        "snnconvert convert --model package.module:factory weights.pt --example-shape 2,3,32,32 "
        "--calibrate photos",
        "snnconvert convert network.onnx --calibrate inputs.pt --code radix",
    ),
    "quantize": ("snnconvert quantize network.onnx --calibrate inputs.pt --timesteps 4",),
    "verify": ("snnconvert verify unet.pt unet.snn.pt",),
    "sweep": ("snnconvert sweep unet.pt --max-error 0.1",),
    "sample": (
        "snnconvert sample unet.snn.pt -n 64 --steps 20 -o images.png",
        "snnconvert sample unet.snn.pt -n 10000 --reset trajectory -o images",
    ),
    "trajectory": ("snnconvert trajectory unet.pt --solver ddim --steps 50 --plot path.png",),
    "moments": ("snnconvert moments unet.pt --stage qann --against ann",),
    "stats": ("snnconvert stats fashion-mnist --image-size 32 -o fashion.npz",),
    "evaluate": (
        "snnconvert evaluate unet.snn.pt --against fashion.npz -n 1000 --steps 20",
        "snnconvert evaluate cifar10-resnet20.pt --against cifar10:test",
    ),
    "guidance": ("snnconvert guidance unet.snn.pt --against fashion.npz --scales 0.98,1,1.02",),
    "finetune": ("snnconvert finetune unet.snn.pt --teacher unet.pt --steps 500",),
    "export": ("snnconvert export unet.snn.pt unet.onnx",),
    "report": ("snnconvert report unet.pt unet.snn.pt", "snnconvert report fashion-spiking.pt"),
    "info": ("snnconvert info unet.pt",),
}


def epilog(command: str) -> str | None:
    """The examples of a command as the end of its help."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(["examples:", *(f"  {line}" for line in lines)]) if lines else None
