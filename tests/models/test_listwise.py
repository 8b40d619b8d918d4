"""The listwise loss of a cross-encoder against the softmax written out, and its logits against those of each pair."""

from __future__ import annotations

import torch
from comparing import assert_close

from models.cross_encoder import Pair, load_cross_encoder
from models.listwise import group_logits, listwise_loss


def test_the_loss_is_the_cross_entropy_of_each_group() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0, 3.0])  # groups of three and two
    expected = -(logits[:3].log_softmax(0)[0] + logits[3:].log_softmax(0)[0]) / 2
    torch.testing.assert_close(listwise_loss(logits, [3, 2]), expected)


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
