"""Prints the running interpreter's tag, as cp313 or cp314t: names its venv and its target directory."""

import sys

print("cp%d%d%s" % (*sys.version_info[:2], sys.abiflags.replace("d", "")))
