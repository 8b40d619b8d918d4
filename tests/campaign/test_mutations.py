"""A damaged file of ours gives what a whole one gives, is made again, or is named in one sentence."""

from __future__ import annotations

import random
from pathlib import Path

from campaign.mutations import SOUND, Materials, kinds, mutants, table


def test_no_damaged_file_is_taken_for_whole(
    encoder_path: str, reader_path: str, reranker_path: str, dataset_path: str, tmp_path: Path
) -> None:
    materials = Materials(encoder_path, reader_path, reranker_path, dataset_path)
    found = list(mutants(kinds(materials, tmp_path), random.Random(0), count=12))
    assert [mutant for mutant in found if mutant.outcome not in SOUND] == [], table(found)
    for kind in {mutant.kind for mutant in found}:
        assert any(mutant.outcome != "right" for mutant in found if mutant.kind == kind), table(found)
