//! Waiting for many: `gather`, `TaskGroup`, `wait`, `as_completed`, `shield`, `amap`; one idea a file.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`here`] | the running loop and the current task |
//! | [`ensure`] | `ensure_future`, and tasks made without a detour |
//! | [`child`] | a future that is waited for, of ours or of anybody's |
//! | [`graph`] | who is awaited by whom, for 3.14's call graphs |
//! | [`gather`] | `gather` and its future |
//! | [`taskgroup`] | `TaskGroup`, with a limit if one is asked for |
//! | [`wait`] | `wait` |
//! | [`completed`] | `as_completed` |
//! | [`shield`] | `shield` |
//! | [`amap`] | `amap`: a function over many items, a few at a time |
//!
//! What all share: whoever waits is told by an *observer*, a Rust function that the loop runs one turn after the child is
//! done, where asyncio would call a Python callback. So the order of things is asyncio's. Children that are no futures
//! of ours (another loop's, a subclass that overrides `add_done_callback`) are told by a Python callback as ever.
//!
//! Under a guard nothing is dropped and no Python code runs: state is taken out first.

pub mod amap;
pub mod child;
pub mod completed;
pub mod ensure;
pub mod gather;
pub mod graph;
pub mod here;
pub mod shield;
pub mod taskgroup;
pub mod wait;

use pyo3::prelude::*;

/// Makes the module's futures known as native ones.
pub fn init(py: Python<'_>) {
    gather::init(py);
}
