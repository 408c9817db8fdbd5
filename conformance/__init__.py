"""CPython's own tests, unmodified, run against plait: `python -m conformance` (README.md tells how)."""
