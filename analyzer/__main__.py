"""`nullsession` and `python -m analyzer`. The version is answered before anything is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:
        from analyzer import __version__  # noqa: PLC0415

        print(f"nullsession {__version__}")
        return
    from analyzer.cli import run  # noqa: PLC0415 - half of what --version may take

    run()


if __name__ == "__main__":
    main()
