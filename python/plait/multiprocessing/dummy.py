"""`multiprocessing.dummy`: this is the standard library's module itself."""

import multiprocessing.dummy
import sys

sys.modules[__name__] = multiprocessing.dummy
