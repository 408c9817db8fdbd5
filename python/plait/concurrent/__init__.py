"""`concurrent` on plait's engine: see `plait.concurrent.futures`."""
