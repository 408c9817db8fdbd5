//! The primitives of `threading`, native: one file a class.

pub mod lock;
