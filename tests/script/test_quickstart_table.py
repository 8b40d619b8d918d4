from __future__ import annotations

import json

from script import quickstart_table


def test_table_shows_every_figure_and_stage(tmp_path, capsys):
    metrics = tmp_path / "metrics.json"
    content = {
        "hit@1": 88.194,
        "hit@5": 97.9,
        "hit@10": 100.0,
        "oracle_exact_match": 44.4,
        "oracle_f1": 65.0,
        "exact_match": 41.0,
        "f1": 60.128,
        "seconds": {"read": 12.5},
    }
    metrics.write_text(json.dumps(content), encoding="utf-8")
    environment = {"device": "cpu", "processor": "AMD EPYC, 2 cores, avx512_bf16", "precision": "bf16", "seed": 42}
    (tmp_path / "environment.json").write_text(json.dumps(environment), encoding="utf-8")

    quickstart_table.main([str(metrics), "environment=0", "training=1230", "scoring=reused"])

    assert capsys.readouterr().out.splitlines() == [
        "gold passage found first          88.19 %",
        "... among the first 5             97.90 %",
        "... among the first 10           100.00 %",
        "exact match, gold passage given   44.40 %",
        "F1, gold passage given            65.00 %",
        "exact match, end to end           41.00 %",
        "F1, end to end                    60.13 %",
        "environment                           0 s",
        "training                           1230 s",
        "scoring                          reused",
        "device                          cpu",
        "processor                       AMD EPYC, 2 cores, avx512_bf16",
        "precision                       bf16",
    ]
