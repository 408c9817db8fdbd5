//! `TaskGroup`: tasks that live no longer than a block; as `asyncio.TaskGroup`, and with a limit if one is asked for.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`state`] | what a group knows, and what its tasks tell it |
//! | [`block`] | entering and leaving the `async with` block |
//! | [`line`] | the limit: who runs, and who waits for room |
//! | [`face`] | the class as Python sees it |
//!
//! The rules are those of the newest CPython on every version (the parent's count of cancellations stays as it was): what changed
//! were mistakes. One is not: since 3.13 a group closes the coroutine that it refuses.

pub mod block;
pub mod face;
pub mod line;
pub mod state;

pub use state::TaskGroup;
