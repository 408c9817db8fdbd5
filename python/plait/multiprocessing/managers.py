"""`multiprocessing.managers`: this is the standard library's module itself."""

import multiprocessing.managers
import sys

sys.modules[__name__] = multiprocessing.managers
