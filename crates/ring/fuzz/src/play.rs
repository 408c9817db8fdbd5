//! What another process may do to shared memory, as a play that bytes prescribe; the ends of a ring and the inbox have
//! to come through it. Reader and writer of a ring are watched by models of them that have no unsafe code.
//!
//! The fuzz target and `tests/nonsense.rs` run it.

#![allow(clippy::expect_used, reason = "a test fails by it")]

use plait_ring::arena::Limits;
use plait_ring::memory::Memory;
use plait_ring::ring::{ALIGN, HEADER, footprint};
use plait_ring::{Arena, Inbox, parcel};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The smallest ring.
const CAPACITY: usize = 4096;
const PAGE: usize = 4096;
/// Where `tail` and `head` lie in the control: each on a line of its own.
const TAIL: usize = 0;
const HEAD: usize = 64;

/// The bytes that prescribe the play. Behind their end are zeros.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn length(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % (CAPACITY + 64)
    }

    /// A position: anything, or something near `around`.
    fn position(&mut self, around: u64) -> u64 {
        match self.byte() % 4 {
            0 => self.number(),
            1 => around.wrapping_add(u64::from(self.byte()) * ALIGN as u64),
            2 => around.wrapping_add(self.length() as u64),
            _ => around.wrapping_sub(u64::from(self.byte())),
        }
    }
}

/// The memory of a ring as the process at its other end has it.
struct Twin(*mut u8);

impl Twin {
    fn of(file: BorrowedFd<'_>) -> Self {
        let (access, length) = (libc::PROT_READ | libc::PROT_WRITE, PAGE + CAPACITY);
        // SAFETY: a new mapping of a file that is so long.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        Self(base.cast())
    }

    fn set(&self, at: usize, value: u64) {
        // SAFETY: within the mapping, aligned; this is the only thread.
        unsafe { self.0.add(at).cast::<u64>().write_volatile(value) }
    }

    fn get(&self, at: usize) -> u64 {
        // SAFETY: as above.
        unsafe { self.0.add(at).cast::<u64>().read_volatile() }
    }

    fn write(&self, position: u64, byte: u8) {
        // SAFETY: as above.
        unsafe {
            self.0
                .add(PAGE + position as usize % CAPACITY)
                .write_volatile(byte)
        }
    }

    fn bytes(&self, position: u64, length: usize) -> Vec<u8> {
        let at = |offset| PAGE + (position as usize + offset) % CAPACITY;
        // SAFETY: as above.
        (0..length)
            .map(|offset| unsafe { self.0.add(at(offset)).read_volatile() })
            .collect()
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.0.cast(), PAGE + CAPACITY) };
    }
}

/// The other side wrote what cannot be.
#[derive(Debug, PartialEq)]
struct Nonsense;

/// An end of a ring, as it is meant: its own position, and the other's as far as it is known.
#[derive(Default)]
struct Model {
    head: u64,
    tail: u64,
}

impl Model {
    /// The next record: its tag and bytes.
    fn pop(&mut self, twin: &Twin) -> Result<Option<(u32, Vec<u8>)>, Nonsense> {
        if self.tail == self.head {
            let tail = twin.get(TAIL);
            let more = tail.checked_sub(self.head).ok_or(Nonsense)?;
            if more > CAPACITY as u64 || !tail.is_multiple_of(ALIGN as u64) {
                return Err(Nonsense);
            }
            self.tail = tail;
            if more == 0 {
                return Ok(None);
            }
        }
        let header = twin.bytes(self.head, HEADER);
        let (length, tag) = header.split_at(4);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u32::from(*byte))
        };
        let length = number(length) as usize;
        if footprint(length) as u64 > self.tail - self.head {
            return Err(Nonsense);
        }
        let bytes = twin.bytes(self.head + HEADER as u64, length);
        self.head += footprint(length) as u64;
        Ok(Some((number(tag), bytes)))
    }

    /// Whether there is room for a record.
    fn push(&mut self, twin: &Twin, length: usize) -> Result<bool, Nonsense> {
        let after = self.tail + footprint(length) as u64;
        if after - self.head > CAPACITY as u64 {
            let head = twin.get(HEAD);
            if head < self.head || head > self.tail {
                return Err(Nonsense);
            }
            self.head = head;
        }
        let fits = after - self.head <= CAPACITY as u64;
        if fits {
            self.tail = after;
        }
        Ok(fits)
    }
}

/// A reader whose writer is mad.
fn reader(script: &mut Script<'_>) {
    let memory = Memory::new(CAPACITY).expect("memory for a ring");
    let twin = Twin::of(memory.as_fd());
    // SAFETY: the only end, which does not outlive the memory.
    let mut consumer = unsafe { memory.consumer() };
    let mut model = Model::default();
    let mut found = Vec::new();
    while !script.0.is_empty() {
        match script.byte() % 4 {
            0 => twin.set(TAIL, script.position(model.head)),
            1 => {
                // A record that may be right.
                let (length, tag) = (script.length(), script.byte());
                let header = (length as u32).to_le_bytes().into_iter().chain([tag; 4]);
                for (at, byte) in header.enumerate() {
                    twin.write(model.head + at as u64, byte);
                }
                twin.set(TAIL, model.head + footprint(length) as u64);
            }
            2 => {
                let at = script.position(model.head);
                for offset in 0..u64::from(script.byte()) {
                    twin.write(at.wrapping_add(offset), script.byte());
                }
            }
            _ => {
                found.clear();
                let expected = model.pop(&twin);
                let got = consumer.pop(&mut found);
                let got = got.map(|tag| tag.map(|tag| (tag, found.clone())));
                assert_eq!(got.map_err(|_| Nonsense), expected);
                if script.byte().is_multiple_of(2) {
                    consumer.release();
                    assert_eq!(twin.get(HEAD), model.head);
                }
            }
        }
    }
}

/// A writer whose reader is mad.
fn writer(script: &mut Script<'_>) {
    let memory = Memory::new(CAPACITY).expect("memory for a ring");
    let twin = Twin::of(memory.as_fd());
    // SAFETY: the only end, which does not outlive the memory.
    let mut producer = unsafe { memory.producer() };
    let mut model = Model::default();
    while !script.0.is_empty() {
        if script.byte().is_multiple_of(2) {
            twin.set(HEAD, script.position(model.tail));
            continue;
        }
        let (length, begin) = (script.length(), model.tail);
        let bytes = vec![script.byte(); length];
        let expected = model.push(&twin, length);
        let got = producer.push(7, &[&bytes]).map_err(|_| Nonsense);
        assert_eq!(got, expected);
        if got == Ok(true) {
            assert_eq!(twin.bytes(begin + HEADER as u64, length), bytes);
            producer.publish();
            assert_eq!(twin.get(TAIL), model.tail);
        }
    }
}

/// An inbox that is told of large values by whoever may say anything.
fn inbox(script: &mut Script<'_>) {
    let arena = Arena::new(Limits::default());
    let mut inbox = Inbox::new();
    let mut kept = Vec::new();
    while !script.0.is_empty() {
        let mut body = Vec::new();
        let value = vec![script.byte(); script.length() * 30];
        let offer = parcel::pack(&arena, b"pickle", &[&value], &mut body).expect("memory for a value");
        let mut wire: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
        let shown = offer.show(1, |text, file| {
            wire.push((text.to_vec(), file.try_clone_to_owned()?));
            Ok(())
        });
        shown.expect("a descriptor");
        let (right, mut told) = (body.clone(), true);
        for _ in 0..script.byte() % 4 {
            match script.byte() % 4 {
                0 => body.truncate(script.length()),
                1 => body.push(script.byte()),
                2 => {
                    if let Some((text, _)) = wire.first_mut() {
                        let at = script.length() % text.len();
                        text[at] = script.byte();
                        told = false;
                    }
                }
                _ => {
                    let at = script.length() % body.len().max(1);
                    if let Some(byte) = body.get_mut(at) {
                        *byte = script.byte();
                    }
                }
            }
        }
        let Ok(parcel) = inbox.open(&body, || Ok(wire.pop())) else {
            assert!(body != right || !told, "what is right is refused");
            // Who was refused is not listened to any more.
            return;
        };
        for part in parcel.buffers.iter().chain([&parcel.pickle]) {
            for at in (0..part.len()).step_by(64).chain(part.len().checked_sub(1)) {
                // SAFETY: what the inbox gives is mapped; this is the only thread.
                let byte = unsafe { part.ptr().add(at).read_volatile() };
                let is_value = body == right && part.len() == value.len() && part.len() != 6;
                assert!(!is_value || byte == value[0]);
            }
        }
        offer.send();
        kept.push(parcel);
        if script.byte().is_multiple_of(2) {
            kept.clear();
        }
    }
}

/// Plays what `bytes` prescribe.
pub fn play(bytes: &[u8]) {
    let mut script = Script(bytes);
    match script.byte() % 4 {
        0 | 1 => reader(&mut script),
        2 => writer(&mut script),
        _ => inbox(&mut script),
    }
}
