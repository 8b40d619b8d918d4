"""The head that says which passage holds the answer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from comparing import assert_close

from models.heads.passage_selection import PassageSelection
from models.span_loss import shared_span_loss, span_loss


def test_the_score_of_the_first_token_is_added_to_all_starts() -> None:
    torch.manual_seed(0)
    head = PassageSelection(16, dropout=0.0)
    hidden_states = torch.randn(2, 7, 16)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, :3] = False  # padding on the left
    start_logits, end_logits = head(hidden_states, mask)
    linear = F.linear(hidden_states, head.logits.linear.weight, head.logits.linear.bias)
    passages = torch.stack([hidden_states[0, 0], hidden_states[1, 3]]) @ head.passage.weight[0]
    assert_close(start_logits, linear[..., 0] + passages[:, None])
    assert_close(end_logits, linear[..., 1])


def test_only_a_softmax_over_several_passages_teaches_it_to_select() -> None:
    torch.manual_seed(0)
    head = PassageSelection(16, dropout=0.0)
    hidden_states, mask = torch.randn(2, 7, 16), torch.ones(2, 7, dtype=torch.bool)
    golds, cls_index = torch.tensor([[4], [0]]), torch.zeros(2, dtype=torch.long)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, head.passage.weight)[0]

    assert_close(gradient(span_loss(*head(hidden_states, mask), golds, golds, mask)), torch.zeros(1, 16))
    shared = gradient(shared_span_loss(*head(hidden_states, mask), golds, golds, mask, cls_index, cls_index))
    # a step against the gradient moves the first passage, which has the answer, above the second
    before, after = (hidden_states[:, 0] @ weight[0] for weight in (head.passage.weight, head.passage.weight - shared))
    assert after[0] - after[1] > before[0] - before[1]
