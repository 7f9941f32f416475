"""What the frozen program starts with. `engine.cli.main` begins with `freeze_support`, without which every worker would
be a second window."""

import os
import sys
import warnings

# Frozen modules have no text. torch wants it for its own compiler of scripts, which nobody here uses.
os.environ.setdefault("PYTORCH_JIT", "0")
warnings.filterwarnings("ignore", message="Unable to retrieve source")

from engine.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
