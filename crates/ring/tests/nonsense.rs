//! A short run of what `make fuzz` does for longer, always the same.

#[path = "../fuzz/src/play.rs"]
mod play;

#[test]
fn no_bytes_whatever_harm_who_reads_them() {
    // xorshift64*: the same plays each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    };
    for kind in 0..4_u8 {
        for _ in 0..2_000 {
            let mut bytes = vec![kind];
            // Small numbers lead further than large ones, which are refused at once.
            bytes.extend((0..random() % 200).map(|_| (random() >> (random() % 8) & 0xff) as u8));
            play::play(&bytes);
        }
    }
}
