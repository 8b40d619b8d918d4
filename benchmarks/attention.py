"""Time a training step and a reading step with every attention, precision and dropout.

    python -m benchmarks.attention --model saved/e5-small-ko

The table behind ``runtime.device.fastest_attention``: seconds per step, best of several, side by side in one run, and
their ratio to the slowest of the same task. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from models import load_reader
from runtime.device import autocast, default_device, keep_freed_memory
from runtime.errors import run_command


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time attention implementations.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="encoder or reader checkpoint")
    parser.add_argument("--batch_size", type=int, default=12, help="features per step")
    parser.add_argument("--tokens", type=int, default=256, help="tokens per feature")
    parser.add_argument("--repeats", type=int, default=4, help="steps timed; the best counts")
    return parser.parse_args(argv)


def seconds_per_step(
    arguments: argparse.Namespace, attention: str, precision: str, dropout: float, training: bool
) -> float:
    """Return the seconds of the fastest forward (and, training, backward) pass."""
    device = default_device()
    model = load_reader(arguments.model, attention=attention, backbone_dropout=dropout)
    model.to(device).train(training)  # type: ignore[arg-type]  # to() is typed as a function, not as a method
    shape = (arguments.batch_size, arguments.tokens)
    input_ids = torch.randint(10, model.config.vocab_size, shape, device=device)  # (batch, tokens)
    attention_mask = torch.ones_like(input_ids)  # (batch, tokens)
    attention_mask[:, -arguments.tokens // 8 :] = 0
    seconds = []
    for _ in range(arguments.repeats + 1):
        begin = time.perf_counter()
        with torch.set_grad_enabled(training), autocast(precision, device):
            outputs = model(input_ids=input_ids, attention_mask=attention_mask)
            loss = outputs.start_logits.float().square().mean()
        if training:
            loss.backward()
        loss.item()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    keep_freed_memory()
    rows = [
        (training, dropout, precision, attention)
        for training, dropout in ((True, 0.1), (True, 0.0), (False, 0.0))
        for precision in ("fp32", "bf16")
        for attention in ("eager", "sdpa")
    ]
    timed = {row: seconds_per_step(arguments, row[3], row[2], row[1], row[0]) for row in rows}
    print(f"{'task':10}{'dropout':>8}{'precision':>11}{'attention':>11}{'seconds':>9}{'ratio':>7}")
    for row, seconds in timed.items():
        slowest = max(value for other, value in timed.items() if other[:2] == row[:2])
        training, dropout, precision, attention = row
        task = "training" if training else "reading"
        print(f"{task:10}{dropout:8.1f}{precision:>11}{attention:>11}{seconds:9.3f}{seconds / slowest:7.2f}")


if __name__ == "__main__":
    run_command(main)
