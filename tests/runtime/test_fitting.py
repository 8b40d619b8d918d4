"""What fits into a memory is found by halving, and what does not names its flag."""

from __future__ import annotations

import pytest
import torch

from runtime.errors import UserError
from runtime.fitting import largest_that_fits, memory_for


def holding(rows: int, tried: list[int], error: type[RuntimeError] = torch.OutOfMemoryError):
    """Return an attempt on a GPU that holds so many ``rows``."""

    def attempt(size: int) -> None:
        tried.append(size)
        if size > rows:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB in all.")

    return attempt


@pytest.mark.parametrize(("rows", "found", "attempts"), [(99, 16, [16]), (5, 4, [16, 8, 4]), (0, 1, [16, 8, 4, 2])])
def test_the_largest_size_that_fits_is_found_by_halving(rows: int, found: int, attempts: list[int]) -> None:
    tried: list[int] = []
    assert largest_that_fits(holding(rows, tried), 16) == found
    assert tried == attempts


def test_what_fails_for_another_reason_fails() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        largest_that_fits(broken, 16)
    with pytest.raises(RuntimeError, match="mat1"), memory_for("--batch"):
        broken(1)


def test_out_of_memory_names_the_flag() -> None:
    with pytest.raises(UserError) as error, memory_for("--encode_batch_size"):
        holding(1, [])(2)
    assert str(error.value) == "there is not enough memory (CUDA out of memory): lower --encode_batch_size"
