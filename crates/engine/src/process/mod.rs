//! Pools of processes: the protocol of docs/design/processes.md, and the only place where it meets Python.
//!
//! | module | what it is | runs in |
//! | --- | --- | --- |
//! | `protocol` | kinds of records, their heads | both |
//! | `board` | what a worker says of itself, and what it is told, in shared words | both |
//! | `codec` | simple values as bytes | both |
//! | `worker` | takes calls, makes them, sends results | the worker |
//! | `driver` | policy, tasks and workers behind one latch | the parent |
//! | `reader` | the thread that reads when nobody else does | the parent |
//! | `pool` | `ProcessPoolCore`: submit and map | the parent |
//! | `outcome`, `telemetry` | what a call ended with, unpacked by whoever asks first; what is known of it | the parent |
//! | `start` | asks a zygote, or a context of multiprocessing, for a worker | the parent |
//! | `pidfds` | processes by descriptor, for Python | the parent |
//! | `zygote` | the requests of a zygote's parent | the zygote |
//! | `extent` | large values in segments | both |
//! | `pickled` | pickles of what the codec does not know | both |

pub mod board;
pub mod codec;
pub mod driver;
pub mod extent;
pub mod outcome;
pub mod pickled;
pub mod pidfds;
pub mod pool;
pub mod protocol;
pub mod reader;
pub mod start;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod tests;
pub mod worker;
pub mod zygote;
