"""`multiprocessing.connection`: this is the standard library's module itself."""

import multiprocessing.connection
import sys

sys.modules[__name__] = multiprocessing.connection
