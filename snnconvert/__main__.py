"""`python -m snnconvert` is the command `snnconvert`."""

import sys


def start() -> int:
    """Run the command line; Ctrl-C ends it in one line while it is still imported, too."""
    try:
        from snnconvert.cli import main

        return main()
    except KeyboardInterrupt:
        print("snnconvert: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(start())
