"""Prints the running interpreter's tag, as cp313 or cp314t: names its venv and its target directory."""

import sys

print(f"cp{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags.replace('d', '')}")
