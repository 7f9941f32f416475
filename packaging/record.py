"""Prints the modules that training needs, one a line: torch loads many by names that PyInstaller cannot see.

Every experiment trains some steps on each tier, reads its metrics, predicts and judges, as in a worker.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.simplefilter("ignore")


def main() -> None:
    from engine import catalogue
    from engine.running import tiers
    from engine.running.local import run_local
    from engine.running.process import prepare

    prepare()
    tiers.STEP_AFTER = tiers.READ_AFTER = tiers.SWITCH = 0.0
    tiers.EARLIEST, tiers.WORTH = 5, 1
    for ex in catalogue.load()[0].values():
        trains = any(k.name == "steps" for k in ex.hyper.knobs())
        run_local(ex, {"steps": 20} if trains else {}, seeds=1)
    print(*sorted(m for m in sys.modules if m.split(".")[0] in ("torch", "sympy")), sep="\n")


if __name__ == "__main__":
    main()
