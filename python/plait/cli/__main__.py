"""The command `plait`, to be started by this file's path: then nothing in the current folder can hide a module of
plait's or of the standard library's, as it can for `python -m plait`.
"""

import sys

from plait.cli import main

if __name__ == "__main__":
    sys.exit(main())
