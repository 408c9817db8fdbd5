//! The core of plait: no Python, no I/O.
