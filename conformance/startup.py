"""Runs when an interpreter of the plait side starts (a .pth line of its virtual environment imports it).

So every child that a test starts has plait installed as well, whatever flags and environment it is given:
`-I` and `-E` do not turn a virtual environment's .pth files off (`-S` does).
"""

try:
    import plait
except ImportError as error:
    # PyO3 modules load in the main interpreter only; a subinterpreter keeps the standard library.
    if "subinterpreters" not in str(error):
        raise
else:
    plait.install()
