"""`multiprocessing.process`: this is the standard library's module itself."""

import multiprocessing.process
import sys

sys.modules[__name__] = multiprocessing.process
