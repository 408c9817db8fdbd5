"""The classes of `_test_multiprocessing`, for the start method fork."""

from test._test_multiprocessing import install_tests_in_module_dict

install_tests_in_module_dict(globals(), "fork")
