"""The first weight that is no finite number is named, whatever it is made of."""

from __future__ import annotations

import pytest
import torch

from runtime.errors import NotFiniteError
from runtime.finite import check_weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_weight_with_one_value_that_is_not_finite_is_named(value: str, dtype: torch.dtype) -> None:
    broken = torch.full((3, 4), torch.finfo(dtype).max, dtype=dtype)
    good = {"numbers": broken.clone(), "flags": torch.tensor([True]), "nothing": torch.empty(0), "one": torch.tensor(1)}
    check_weights(good.items(), "the model")
    broken[1, 2] = float(value)
    with pytest.raises(NotFiniteError, match=r"the model holds .* \(1 of 4, the first: broken\)"):
        check_weights([*good.items(), ("broken", torch.nn.Parameter(broken))], "the model")
