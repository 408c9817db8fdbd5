"""The classes of `_test_multiprocessing` with no start method set: the zygote; forkserver on the standard library."""

import multiprocessing

from test._test_multiprocessing import install_tests_in_module_dict

from plait import _install

install_tests_in_module_dict(globals(), "forkserver")

if _install.is_installed():
    _set_up = globals()["setUpModule"]

    def setUpModule() -> None:
        """As the tests' own; then back to the default."""
        _set_up()
        multiprocessing.set_start_method(None, force=True)
