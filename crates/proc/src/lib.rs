//! Processes as the system has them: started, watched by pidfd, limited, reaped. No Python.

#![warn(missing_docs)]
