//! What processes of a family share: locks, queues, arrays, in memory without a name.

pub mod array;
