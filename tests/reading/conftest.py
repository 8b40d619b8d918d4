"""The retrieved passages of one example that hold no answer to it."""

from __future__ import annotations

import pandas as pd
import pytest
from datasets import Dataset
from one_example import RETRIEVED, example

from loading.examples import example_features
from reading.negatives import answer_free


@pytest.fixture
def pool() -> dict[str, list[dict[str, str]]]:
    unanswerable = example() | {"id": "q2", "answers": {"text": [], "answer_start": []}}
    rows = [(question, *passage) for question in ("q1", "q2", "q3") for passage in RETRIEVED]
    retrieved = pd.DataFrame(rows, columns=["id", "document_id", "title", "context"])
    return answer_free(Dataset.from_list([example(), unanswerable], features=example_features()), retrieved)
