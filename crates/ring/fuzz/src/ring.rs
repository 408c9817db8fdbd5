//! The fuzz target: `make fuzz SECONDS=30`.

#![no_main]

mod play;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| play::play(bytes));
