"""What is changed in a model of Transformers when it is loaded."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BigBirdConfig, BigBirdModel, PreTrainedModel

from models.loading import load_pretrained


def _big_bird(folder: Any) -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    blocks = {"block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 128}
    config = BigBirdConfig(**sizes, **blocks, pad_token_id=1, vocab_size=32)
    torch.manual_seed(0)
    BigBirdModel(config, add_pooling_layer=False).save_pretrained(folder)
    return load_pretrained(BigBirdModel, str(folder), config, "eager", add_pooling_layer=False)[0]


@torch.no_grad()
def test_big_bird_reads_a_batch_alike_whatever_it_read_before(tmp_path: Any) -> None:
    model = _big_bird(tmp_path).eval()
    generator = torch.Generator().manual_seed(0)
    long, short = (torch.randint(5, 32, (2, tokens), generator=generator) for tokens in (64, 28))  # 28 is too short
    before, numbers = model(input_ids=long).last_hidden_state, torch.get_rng_state()
    short_states = model(input_ids=short).last_hidden_state
    after = model(long).last_hidden_state
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(model(input_ids=short).last_hidden_state, short_states)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert {id(weight) for weight in model.parameters()} == {id(weight) for _, weight in model.named_parameters()}
    assert not any(weight.is_meta for weight in model.parameters())
    model.set_attention_type("original_full")
    full = BigBirdModel.from_pretrained(tmp_path, attention_type="original_full", add_pooling_layer=False).eval()
    assert (full(input_ids=long).last_hidden_state - before).abs().max() > 1e-3  # blocks do differ
