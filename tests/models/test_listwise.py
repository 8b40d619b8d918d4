"""The listwise loss of a cross-encoder against the softmax written out, and its logits against those of each pair."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from comparing import assert_close

from models.cross_encoder import Pair, load_cross_encoder
from models.listwise import group_logits, listwise_loss, margin_loss


def test_the_loss_is_the_cross_entropy_of_each_group() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0, 3.0])  # groups of three and two
    expected = -(logits[:3].log_softmax(0)[0] + logits[3:].log_softmax(0)[0]) / 2
    torch.testing.assert_close(listwise_loss(logits, [3, 2]), expected)


def test_a_teachers_margins_are_learnt_and_not_its_zero() -> None:
    student, teacher = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([9.0, 7.0, 1.0])
    errors = [((student[i] - student[j]) - (teacher[i] - teacher[j])) ** 2 / 2 for i, j in combinations(range(3), 2)]
    expected = 2 * sum(errors) / 9  # of nine pairs, three are of a passage with itself
    torch.testing.assert_close(margin_loss(student, teacher), expected)
    assert margin_loss(teacher - 5, teacher) == 0


def test_groups_are_taught_where_the_teacher_knows_the_right_passage_and_another() -> None:
    logits, nan = torch.tensor([2.0, -1.0, 0.5, 0.0, 3.0, 1.0, 4.0]), torch.nan
    label = listwise_loss(logits[3:5], [2])
    margins = margin_loss(torch.tensor([2.0, 0.5]), torch.tensor([1.0, 0.0]))
    for told in ([nan, 5.0], [5.0, nan], [nan, nan]):
        teacher = torch.tensor([1.0, nan, 0.0, *told, 1.0, 3.0])
        expected = (margins + label + margin_loss(logits[5:], torch.tensor([1.0, 3.0]))) / 3
        torch.testing.assert_close(listwise_loss(logits, [3, 2, 2], teacher), expected)
    assert listwise_loss(logits, [7], logits + 1).item() == pytest.approx(0, abs=1e-6)
    logits.requires_grad_()
    listwise_loss(logits, [3, 2, 2], teacher).backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad[1] == 0


def test_logits_come_in_the_order_of_the_groups_whatever_is_read_together(reranker_path: str) -> None:
    texts = ["수성의 하루는 지구의 176일과 같다. " * count for count in (3, 1, 2)]
    groups = [
        [Pair("수성의 하루는 지구의 며칠인가?", "수성", text) for text in texts],
        [Pair("태양에 가장 가까운 행성은 무엇인가?", "", text) for text in texts[:2]],
    ]
    cross_encoder = load_cross_encoder(reranker_path)
    with torch.no_grad():
        logits, sizes = group_logits(cross_encoder, cross_encoder.model.eval(), groups)
    assert sizes == [3, 2]
    expected = [cross_encoder.score([pair], precision="fp32")[0] for group in groups for pair in group]
    assert_close(logits, expected)
