"""What a process keeps between two commands, forgotten."""

from __future__ import annotations

from accelerate.state import AcceleratorState, GradientState, PartialState


def forget_accelerator() -> None:
    """Let the next command choose its processes, device and precision anew."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
