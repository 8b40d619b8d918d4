"""The mean loss of a window, and the end of a run whose losses or model are no numbers any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from runtime.errors import NotFiniteError, UserError
from training import loss_window as losses
from training.loss_window import LossWindow, Place

NAN, INF = float("nan"), float("inf")


def place(step: int, batch: int = 1, rows: Sequence[int] = (0, 1)) -> Place:
    return Place(step, batch, 1e-3, rows)


def make_window(reduce: Callable[..., torch.Tensor] = lambda totals, reduction: totals, scaler: Any = None) -> Any:
    """A window of one process, or of one whose totals ``reduce`` adds up with those of others."""
    accelerator = SimpleNamespace(reduce=reduce, scaler=scaler, num_processes=1)
    return LossWindow(accelerator, lambda rows: [f"train-{row}" for row in rows])


# -------------------------------------------------------------------------------------------------------------- means


def test_the_loss_is_the_mean_over_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 4.0, 4.0, 6.0, 6.0])
    monkeypatch.setattr(losses.time, "perf_counter", lambda: next(now))
    window = make_window()
    window.add(torch.tensor(2.0, requires_grad=True), 3, place(1))
    window.add(torch.tensor(4.0), 1, place(2))
    assert window.close() == {"loss": 2.5, "examples_per_second": 1.0}
    window.add(torch.tensor(7.0), 4, place(3))
    assert window.close() == {"loss": 7.0, "examples_per_second": 2.0}


def test_looking_in_between_changes_no_mean() -> None:
    window, torn = make_window(), make_window()
    for step in range(1, 251):  # more than are looked at together
        for each in (window, torn):
            each.add(torch.tensor(float(step)), 1 + step % 3, place(step))
        if step % 7 == 0:
            torn.check(torch.nn.Linear(1, 1), lambda: torch.zeros(()))
    weights = [1 + step % 3 for step in range(1, 251)]
    expected = sum(step * weight for step, weight in zip(range(1, 251), weights, strict=True)) / sum(weights)
    assert window.close()["loss"] == pytest.approx(expected) == pytest.approx(torn.close()["loss"])


def test_the_loss_is_the_mean_over_processes_that_read_unequal_batches() -> None:
    there = []
    make_window(lambda totals, reduction: there.append(totals) or totals)  # nothing yet
    other = make_window(lambda totals, reduction: there.append(totals) or totals)
    other.add(torch.tensor(4.0), 1, place(1))
    other.close()
    here = make_window(lambda totals, reduction: totals + there[0])
    here.add(torch.tensor(2.0), 3, place(1))
    assert here.close()["loss"] == 2.5


def test_the_window_holds_no_graph_and_lets_go_of_what_it_looked_at() -> None:
    window = make_window()
    window.add(torch.tensor(2.0, requires_grad=True) * 3, 2, place(1))
    assert not window._seen[0].loss.requires_grad
    window.close()
    assert not window._seen and not window._norms


# ---------------------------------------------------------------------------------------------------- no more numbers


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_the_first_loss_that_is_no_number_is_told_with_its_place(value: float) -> None:
    window = make_window()
    window.add(torch.tensor(1.0), 2, place(6, 1))
    window.add(torch.tensor(value), 2, place(6, 2, rows=range(3, 13)))
    window.add(torch.tensor(NAN), 2, place(7, 1))
    with pytest.raises(UserError) as error:
        window.close()
    assert str(error.value) == (
        "training stops at step 6, batch 2 (train-3, train-4, train-5, train-6, train-7, train-8, train-9, train-10, "
        f"…), learning rate 0.001: the loss is {value}; what was saved before stays; start again with a lower learning "
        "rate, or look at these examples"
    )


def test_a_loss_that_is_no_number_is_seen_after_a_hundred_batches_at_the_latest() -> None:
    window = make_window()
    with pytest.raises(UserError, match="training stops at step 1, batch 1 "):
        for step in range(1, 101):
            window.add(torch.tensor(NAN), 1, place(step))
    assert step == 100


def test_a_gradient_that_is_no_number_is_told_but_after_the_loss_that_spoilt_it() -> None:
    window = make_window()
    window.add(torch.tensor(1.0), 2, place(3))
    window.add_norm(torch.tensor(INF))
    with pytest.raises(
        UserError, match=r"at step 3, batch 1 \(train-0, train-1\), .*: the norm of the gradient is inf"
    ):
        window.close()
    window = make_window()
    window.add(torch.tensor(NAN), 2, place(4))
    window.add_norm(torch.tensor(NAN))
    with pytest.raises(UserError, match=r"at step 4, .*: the loss is nan"):
        window.close()


def test_the_processes_stop_together_at_the_first_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose own losses are fine learns of another's from the totals, and tells of it."""
    window = make_window(lambda totals, reduction: totals + torch.tensor([NAN, 1.0, 1.0]))
    window.add(torch.tensor(1.0), 2, place(1))
    window.add(torch.tensor(NAN), 2, place(5))
    monkeypatch.setattr(
        losses, "gather_object", lambda own: [*own, (2, 1, "step 2, where another process is: no loss")]
    )
    with pytest.raises(UserError, match="training stops at step 2, where another process is: no loss; what was saved"):
        window.close()


class Scaler(SimpleNamespace):
    """A loss scaler that has got to ``scale``."""

    def is_enabled(self) -> bool:
        return True

    def get_scale(self) -> float:
        return self.scale


def test_an_overflow_in_fp16_is_no_end_but_one_that_no_scale_prevents_is() -> None:
    window = make_window(scaler=Scaler(scale=1024.0))
    window.add(torch.tensor(2.0), 1, place(1))
    window.add_norm(torch.tensor(INF))
    assert window.close()["loss"] == 2.0
    window = make_window(scaler=Scaler(scale=2.0**-20))
    window.add(torch.tensor(2.0), 1, place(8))
    with pytest.raises(UserError, match=r"after step 8, .*: gradients overflow fp16 .*; train with --precision bf16"):
        window.close()


# ------------------------------------------------------------------------------------------------------------- check


def test_a_model_is_fit_to_be_saved_if_weights_and_what_it_gives_are_numbers() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))
    window = make_window()
    window.add(torch.tensor(1.0), 1, place(9))
    before = torch.get_rng_state()
    seen = []
    window.check(model, lambda: seen.append((model.training, torch.is_grad_enabled())) or model(torch.ones(1, 2)))
    assert seen == [(False, False)] and model.training
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(NotFiniteError, match="the model gives something else than finite numbers"):
        window.check(model, lambda: torch.tensor([1.0, INF]))
    with torch.no_grad():
        model[0].bias[1] = NAN
    with pytest.raises(NotFiniteError, match=r"finite numbers \(1 of 2, the first: 0.bias\)"):
        window.check(model, lambda: torch.zeros(()))
    told = r"after step 9, .*: the model holds weights that .*: 0.bias\); what was saved"
    with pytest.raises(UserError, match=told), window.ends_run():
        window.check(model, lambda: torch.zeros(()))


def test_before_the_first_batch_an_error_is_told_as_it_is() -> None:
    with pytest.raises(NotFiniteError, match=r"^--model x gives nothing$"), make_window().ends_run():
        raise NotFiniteError("--model x", "gives nothing")
