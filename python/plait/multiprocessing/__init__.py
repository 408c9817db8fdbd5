"""`multiprocessing` on plait's engine: so far its pool of threads, see `plait.multiprocessing.pool`."""
