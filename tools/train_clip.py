"""Train the tiny CLIP on the 10,000 public images and write it as a Hugging Face folder.

python -m tools.train_clip --idx-dir DIR --out fedcrucible_assets/clip-tiny-fashion

Each image meets a random caption of its class. The loss is the symmetric contrastive loss with soft targets: every pair
of the same class in the batch counts as a match (yang2022unicl).
So this CLIP has seen the class names, and "zero-shot" says how it is used, not what it has never seen.
Choices are made on the validation images; the test images are measured once, at the end, when --test is given.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast
from transformers.utils import logging

from tools.captions import MAX_LENGTH, build_tokenizer, captions_for
from tools.clip_zero_shot import report
from tools.fashion_idx import load_splits
from tools.torch_tools import brightness_contrast, erase, jitter, pick_device, to_tensors

MEAN, STD = 0.2860, 0.3530
"""Published normalisation of Fashion-MNIST, used for each of the three equal channels."""


def build_model(tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> CLIPModel:
    """A CLIP with 28x28 images in 4x4 patches and a two-layer text tower."""
    tokens = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": MAX_LENGTH,
        "projection_dim": 64,
        **tokens,
    }
    vision = {
        "hidden_size": args.width,
        "intermediate_size": 2 * args.width,
        "num_hidden_layers": args.layers,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 4,
        "num_channels": 3,
        "projection_dim": 64,
        "attention_dropout": 0.0,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64, logit_scale_init_value=2.3))


def caption_table(tokenizer: PreTrainedTokenizerFast, per_class: int, args: argparse.Namespace) -> dict[str, Tensor]:
    """Token ids and masks ``[10, per_class, length]`` of captions drawn once for each class."""
    rng = np.random.default_rng(args.seed)
    texts = [t for c in range(10) for t in captions_for(c, per_class, rng, args.other_names, args.unknown)]
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    return {name: encoded[name].view(10, per_class, -1) for name in ("input_ids", "attention_mask")}


def contrastive_loss(model: CLIPModel, pixels: Tensor, text: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy in both directions; the target of a row is spread evenly over the columns of the same class."""
    output = model(pixel_values=pixels, **text)
    same = (labels[:, None] == labels[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    logits = output.logits_per_image
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def augment(x: Tensor, generator: torch.Generator, erase_probability: float) -> Tensor:
    """Random geometry, brightness and contrast, and on request random erasing; then normalised, ``[n, 3, 28, 28]``."""
    x = brightness_contrast(jitter(x, generator), generator)
    if erase_probability > 0:
        x = erase(x, generator, erase_probability)
    return ((x - MEAN) / STD).expand(-1, 3, -1, -1)


def train(model: CLIPModel, images: Tensor, labels: Tensor, table: dict[str, Tensor], args: argparse.Namespace) -> None:
    """AdamW on a one-cycle schedule, in place."""
    device = model.device
    generator = torch.Generator().manual_seed(args.seed)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    steps = args.epochs * (len(images) // args.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=steps, pct_start=0.15)
    images, labels = images.to(device), labels.to(device)
    table = {name: tensor.to(device) for name, tensor in table.items()}
    per_class = table["input_ids"].shape[1]
    model.train()
    started = time.perf_counter()
    for epoch in range(args.epochs):
        total = torch.zeros((), device=device)
        order = torch.randperm(len(images), generator=generator)
        batches = order[: len(images) // args.batch_size * args.batch_size].view(-1, args.batch_size)
        for rows in batches:
            y = labels[rows.to(device)]
            pick = torch.randint(per_class, (len(rows),), generator=generator).to(device)
            text = {name: tensor[y, pick] for name, tensor in table.items()}
            pixels = augment(images[rows.to(device)], generator, args.erase_probability)
            loss = contrastive_loss(model, pixels, text, y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=4.6)
            total += loss.detach()
        if epoch % 5 == 4 or epoch + 1 == args.epochs:
            seconds = time.perf_counter() - started
            print(
                f"epoch {epoch + 1}/{args.epochs}: loss {total.item() / len(batches):.4f}, {seconds:.0f} s", flush=True
            )
    model.eval()


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Weights in float16, tokenizer and image processor, as ``CLIPModel`` and ``CLIPProcessor`` read them."""
    size = {"height": 28, "width": 28}
    processor = CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size=size, image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True
    )
    model.half().save_pretrained(out)
    CLIPProcessor(image_processor=processor, tokenizer=tokenizer).save_pretrained(out)
    processor.save_pretrained(out)
    path = out / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that transformers 4 and 5 both know
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for file in out.iterdir():
        file.chmod(0o644)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/clip-tiny-fashion"))
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--width", type=int, default=96, help="width of the vision tower")
    parser.add_argument("--layers", type=int, default=4, help="layers of the vision tower")
    parser.add_argument(
        "--erase-probability", type=float, default=0.0, help="random erasing; it resembles a patch trigger"
    )
    parser.add_argument("--other-names", type=float, default=0.25)
    parser.add_argument("--unknown", type=float, default=0.1)
    parser.add_argument("--captions", type=int, default=1000, help="captions drawn for each class")
    parser.add_argument("--images", type=int, default=10_000, help="fewer public images, for a quick trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--test", action="store_true", help="measure the test images at the end")
    args = parser.parse_args()

    logging.disable_progress_bar()
    torch.manual_seed(args.seed)
    device = pick_device(args.device)
    splits = load_splits(args.idx_dir)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, args).to(device)
    print(f"{sum(p.numel() for p in model.parameters()):,} weights, {len(tokenizer)} words, on {device}", flush=True)
    images, labels = to_tensors(splits["public"])
    table = caption_table(tokenizer, args.captions, args)
    train(model, images[: args.images], labels[: args.images], table, args)
    save(model, tokenizer, args.out)
    for name in ("val", "test") if args.test else ("val",):
        print(name, json.dumps(report(args.out, *to_tensors(splits[name]), device)), flush=True)


if __name__ == "__main__":
    main()
