"""Training goes on where steps cannot be recorded; what recorded ones compute is tested on a GPU, in test_gpu.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from training.cuda_graphs import CudaGraphs


def test_where_recording_fails_steps_are_computed_as_usual(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    tried: list[int] = []

    def fail(self: CudaGraphs, loss_of: Any, batch: dict[str, torch.Tensor]) -> None:
        tried.append(len(batch["x"]))
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")

    monkeypatch.setattr(CudaGraphs, "_record", fail)
    generator = torch.Generator().manual_seed(0)
    batches = [{"x": torch.randn(rows, 3, generator=generator)} for rows in (2, 4, 2, 2, 4, 4)]
    model, expected = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    expected.load_state_dict(model.state_dict())
    graphs = CudaGraphs(model)
    for batch in batches:
        loss = graphs.backward(lambda batch: model(batch["x"]).square().mean(), batch, 0.5)
        alone = expected(batch["x"]).square().mean()
        (alone * 0.5).backward()
        assert torch.equal(loss, alone.detach()) and not loss.requires_grad
        assert torch.equal(model.weight.grad, expected.weight.grad)  # type: ignore[arg-type]
    assert tried == [2]
    assert log_lines == [
        "WARNING steps of new shapes are computed without CUDA graphs, as recording failed: CUDA out of memory."
    ]
    graphs.zero_grad()
    assert not model.weight.grad.any()  # type: ignore[union-attr]
