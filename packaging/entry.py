"""What the frozen program starts with. `engine.cli.main` begins with `freeze_support`, without which every worker would
be a second window."""

import sys

from engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
