//! `concurrent.futures`, native: futures, the thread pool, `wait` and `as_completed`; one idea a file.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`future`] | `FutureCore`: what can be done with a future, over a [`Cell`](plait_core::Cell) |
//! | [`outcome`] | what a future ends with |
//! | [`methods`] | the same, as Python sees it |
//! | [`private`] | the attributes that the standard library's own code reads and writes |
//! | [`observer`] | who is told when a future is done: callbacks and collectors |
//! | [`collector`] | what `wait` and `as_completed` wait with |
//! | [`job`] | a call that has been submitted |
//! | [`crew`] | the queue of jobs and the workers that idle |
//! | [`roster`] | who works off a queue, for the watch over waits |
//! | [`worker`] | the loop of a worker thread |
//! | [`pool`] | `PoolCore`: submit and map |
//! | [`results`] | the results of `map`, in order |
//! | [`face`] | what the Python side hands over when it is imported |

pub mod collector;
pub mod crew;
pub mod face;
pub mod future;
pub mod items;
pub mod job;
pub mod methods;
pub mod observer;
pub mod outcome;
pub mod pool;
pub mod private;
pub mod results;
pub mod roster;
pub mod worker;

use pyo3::prelude::*;

/// Puts the raw methods over the classes.
///
/// # Errors
/// As [`crate::hot::install`].
pub fn init(py: Python<'_>) -> PyResult<()> {
    methods::init(py)?;
    pool::init(py)
}
