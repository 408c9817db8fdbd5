//! Bytes that nobody meant: what the tests of the protocol's readers feed them.

/// A small generator of pseudo-random bytes (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to `at_most` bytes; often small numbers, which is what heads are made of.
    pub fn bytes(&mut self, at_most: u64) -> Vec<u8> {
        let length = self.next() % (at_most + 1);
        (0..length)
            .map(|_| {
                let [byte, small, ..] = self.next().to_le_bytes();
                if small < 160 { byte % 9 } else { byte }
            })
            .collect()
    }
}
