//! Kinds of records and their heads, as docs/design/processes.md has them. What is read may be anything: nothing here panics.

use plait_pool::worker::DEEP;

/// Bytes of a worker's ring, either way.
pub const RING: usize = 256 << 10;
/// A value longer than this, whatever its form, goes by segment; so does everything whose record would be longer.
pub const LONGEST: usize = RING / 4;
/// Records on their way to a worker at one time.
pub const SLOTS: usize = DEEP;

/// Kinds of records from the parent.
pub mod down {
    /// A [`CallHead`](super::CallHead), then the arguments.
    pub const CALL: u32 = 1;
    /// A number (u32), then the pickled function.
    pub const FUNCTION: u32 = 2;
    /// The number (u32) of a function that is not called any more.
    pub const FORGET: u32 = 3;
    /// Nothing: end after what came before.
    pub const RETIRE: u32 = 4;
}

/// Kinds of records from a worker.
pub mod up {
    /// A [`ResultHead`](super::ResultHead), then the value.
    pub const RESULT: u32 = 1;
    /// The task (u64) whose call begins.
    pub const STARTED: u32 = 2;
    /// Nothing: the initializer has run.
    pub const READY: u32 = 3;
    /// A form (u8), then the initializer's exception.
    pub const UNFIT: u32 = 4;
    /// A stream (u8: 1 or 2), then UTF-8.
    pub const OUTPUT: u32 = 5;
    /// A pickled `LogRecord`.
    pub const LOG: u32 = 6;
    /// The task (u64) whose function or arguments are about to be unpickled, which may import what takes long.
    pub const LOADS: u32 = 7;
}

/// How a value is written.
pub mod form {
    /// By the codec.
    pub const SIMPLE: u8 = 0;
    /// Pickle, protocol 5, in one piece.
    pub const PICKLE: u8 = 1;
    /// In a segment: its number and where its parts lie follow.
    pub const SEGMENT: u8 = 2;
}

/// A flag of a call: the worker says when it starts, and before that when it loads what the call needs.
pub const SAY_STARTED: u8 = 1;
/// A flag of a call: large values are to be copies that can be written to.
pub const COPY: u8 = 2;
/// The function of a call whose first argument is the callable.
pub const NO_FUNCTION: u32 = 0;

/// Whether a result is a value or an exception.
pub mod how {
    /// What the call returned.
    pub const VALUE: u8 = 0;
    /// What it raised.
    pub const EXCEPTION: u8 = 1;
}

fn first<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    Some((*head, rest))
}

/// A u32 and what follows.
#[inline]
pub fn read_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = first(bytes)?;
    Some((u32::from_le_bytes(head), rest))
}

/// A u64 and what follows.
#[inline]
pub fn read_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = first(bytes)?;
    Some((u64::from_le_bytes(head), rest))
}

/// What stands before the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallHead {
    /// The task, as the policy names it.
    pub task: u64,
    /// Counts the calls of one worker; their slots on the board.
    pub sequence: u32,
    /// The number of a function that was sent before, or [`NO_FUNCTION`].
    pub function: u32,
    /// How the arguments are written: a constant of [`form`].
    pub form: u8,
    /// [`SAY_STARTED`], [`COPY`], both or 0.
    pub flags: u8,
}

impl CallHead {
    /// Its length in bytes.
    pub const LENGTH: usize = 20;

    /// As bytes: the first part of a record.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.function.to_le_bytes());
        bytes[16] = self.form;
        bytes[17] = self.flags;
        bytes
    }

    /// Appends it.
    #[inline]
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_bytes());
    }

    /// The head and what follows; None if this is none.
    #[inline]
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (task, bytes) = read_u64(bytes)?;
        let (sequence, bytes) = read_u32(bytes)?;
        let (function, bytes) = read_u32(bytes)?;
        let ([form, flags, 0, 0], rest) = first(bytes)? else {
            return None;
        };
        let head = Self {
            task,
            sequence,
            function,
            form,
            flags,
        };
        (form <= form::SEGMENT && flags <= (SAY_STARTED | COPY)).then_some((head, rest))
    }
}

/// What stands before the value of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResultHead {
    /// The task of the call.
    pub task: u64,
    /// How long the call took by the monotonic clock, in nanoseconds.
    pub took: u64,
    /// How much processor time it took, in nanoseconds; as `took` for short calls.
    pub cpu: u64,
    /// The most memory that the worker had meanwhile, in KiB; 0 for short calls, which do not ask.
    pub peak: u32,
    /// A constant of [`how`].
    pub how: u8,
    /// How the value is written: a constant of [`form`].
    pub form: u8,
}

impl ResultHead {
    /// Its length in bytes.
    pub const LENGTH: usize = 32;

    /// As bytes: the first part of a record.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.took.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.cpu.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.peak.to_le_bytes());
        bytes[28] = self.how;
        bytes[29] = self.form;
        bytes
    }

    /// Appends it.
    #[inline]
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_bytes());
    }

    /// The head and what follows; None if this is none.
    #[inline]
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (task, bytes) = read_u64(bytes)?;
        let (took, bytes) = read_u64(bytes)?;
        let (cpu, bytes) = read_u64(bytes)?;
        let (peak, bytes) = read_u32(bytes)?;
        let ([how, form, 0, 0], rest) = first(bytes)? else {
            return None;
        };
        let head = Self {
            task,
            took,
            cpu,
            peak,
            how,
            form,
        };
        (how <= how::EXCEPTION && form <= form::SEGMENT).then_some((head, rest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use super::*;

    #[test]
    fn heads_come_out_as_they_went_in() {
        let call = CallHead {
            task: u64::MAX - 1,
            sequence: 7,
            function: 3,
            form: form::PICKLE,
            flags: SAY_STARTED,
        };
        let result = ResultHead {
            task: 1 << 40,
            took: 2,
            cpu: 3,
            peak: 4,
            how: how::EXCEPTION,
            form: form::SEGMENT,
        };
        let mut bytes = Vec::new();
        call.write(&mut bytes);
        result.write(&mut bytes);
        bytes.push(9);
        let (again, rest) = CallHead::read(&bytes).unwrap();
        assert_eq!(again, call);
        let (again, rest) = ResultHead::read(rest).unwrap();
        assert_eq!((again, rest), (result, &[9][..]));
    }

    #[test]
    fn no_bytes_whatever_are_read_beyond_their_end() {
        let mut random = crate::process::tests::Random::new(1);
        for _ in 0..20_000 {
            let bytes = random.bytes(40);
            if let Some((head, rest)) = CallHead::read(&bytes) {
                assert_eq!(rest.len() + CallHead::LENGTH, bytes.len());
                assert_eq!(head.to_bytes()[..], bytes[..CallHead::LENGTH]);
            }
            if let Some((head, rest)) = ResultHead::read(&bytes) {
                assert_eq!(rest.len() + ResultHead::LENGTH, bytes.len());
                assert_eq!(head.to_bytes()[..], bytes[..ResultHead::LENGTH]);
            }
            let _: Option<_> = read_u32(&bytes);
        }
    }
}
