"""What is sent to processes. For all but the simple ones the standard library has pickle."""

from datetime import date
from decimal import Decimal

from benchmarks.calls import Point, Version

SIMPLE = (1, "two", b"three", 4.0, None, True)
CONTAINERS = {"numbers": (1, 2, 3), "nested": [None, {"a": 1.5}]}
PLAIN = {**CONTAINERS, "point": Point(1, 2)}
# These say what makes them: by code of the library, and by the program's own.
SPEAKING = {**CONTAINERS, "day": date(2026, 11, 22), "price": Decimal("9.95")}
OWN = {**CONTAINERS, "version": Version(3, 14, 9)}
# This is left to pickle by plait, too: a list that stands in two places.
LEFT = {**CONTAINERS, "again": CONTAINERS["nested"]}
