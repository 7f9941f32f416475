"""Every claim at every preset, against the outcome that the preset declares. Slow: a suite of its own (-m claims).

In the full run each experiment's default stands for it; `verify --all` and `--long` judge the rest.
"""

import pytest
import torch

from engine import catalogue
from engine.running.local import run_local

torch.set_num_threads(1)
FOUND, _ = catalogue.load()
CASES = [
    pytest.param(ex, p, id=f"{ex.name}@{p.name}", marks=[] if i == 0 else [pytest.mark.long])
    for ex in FOUND.values()
    for i, p in enumerate(ex.presets)
]


@pytest.mark.claims
@pytest.mark.parametrize(("ex", "preset"), CASES)
def test_claims_come_out_as_declared(ex, preset):
    result = run_local(ex, preset=preset.name)
    for claim in ex.claims:
        verdict, want = result.verdicts[claim.key], preset.expects.get(claim.key, "holds")
        if want == "broken":
            assert verdict.outcome == "undecided" and verdict.broken, (claim.key, verdict)
        else:
            assert verdict.outcome == want, (claim.key, verdict)
