"""``holdfast``, and ``python -m holdfast``: the command line, which may be interrupted while it is imported, too."""

from __future__ import annotations

import sys

INTERRUPTED = 130

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit."""
    try:
        from holdfast.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
