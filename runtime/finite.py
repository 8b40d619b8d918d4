"""Are there only numbers in it?"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from runtime.errors import NotFiniteError


def check_weights(weights: Iterable[tuple[str, torch.Tensor]], who: str) -> None:
    """Raise :class:`NotFiniteError` about ``who`` unless all of the named ``weights`` are finite numbers."""
    named = dict(weights)
    finite = torch.stack([weight.isfinite().all() for weight in named.values()]).tolist()  # one wait for the GPU
    broken = [name for name, fine in zip(named, finite, strict=True) if not fine]
    if broken:
        raise NotFiniteError(
            who,
            f"holds weights that are not finite numbers ({len(broken)} of {len(named)}, the first: {broken[0]})",
        )
