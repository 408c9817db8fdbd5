//! The ring to the parent: records in order, and what was printed among them where it was printed.
//!
//! A record that finds no room waits for it, detached: the parent reads without the GIL of this process. Who waits holds the
//! latch, and nobody who holds it waits for the GIL, so others that want to print wait detached too.

use super::ProcessWorker;
use super::orphan;
use super::serve;
use crate::process::board::Doorbell;
use crate::process::extent;
use crate::process::protocol::{LONGEST, RING, up};
use plait_core::Latch;
use plait_proc::Link;
use plait_ring::memory::Memory;
use plait_ring::{Corrupt, Offer, Producer};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// A line that is longer than this is sent in pieces.
const PIECE: usize = LONGEST / 2;

/// The end that writes.
#[derive(Debug)]
pub struct Upward {
    end: Latch<End>,
    bell: Doorbell,
    event: OwnedFd,
}

#[derive(Debug)]
struct End {
    ring: Producer,
    /// What was printed and is not sent yet, and on which stream.
    printed: Vec<u8>,
    stream: u8,
    _memory: Memory,
}

impl Upward {
    pub fn new(memory: Memory, bell: Doorbell, event: OwnedFd) -> Self {
        // SAFETY: the parent hands each ring to one worker, which has one of these.
        let ring = unsafe { memory.producer() };
        Self {
            end: Latch::new(End {
                ring,
                printed: Vec::new(),
                stream: 1,
                _memory: memory,
            }),
            bell,
            event,
        }
    }

    /// Sends a record; what was printed before it goes first.
    #[inline]
    pub fn send(&self, worker: &ProcessWorker, py: Python<'_>, tag: u32, parts: &[&[u8]]) -> PyResult<()> {
        if worker.is_forked() {
            return Ok(());
        }
        if let Some(mut end) = self.end.try_lock()
            && end.printed.is_empty()
            && end.ring.push(tag, parts).map_err(broken)?
        {
            end.ring.publish();
            self.ring();
            return Ok(());
        }
        self.send_slow(py, tag, parts)
    }

    #[cold]
    fn send_slow(&self, py: Python<'_>, tag: u32, parts: &[&[u8]]) -> PyResult<()> {
        // There will never be room for it.
        if parts.iter().map(|part| part.len()).sum::<usize>() > RING / 2 {
            return Err(PyValueError::new_err("a record that is too long for a ring"));
        }
        py.detach(|| {
            let mut end = self.end.lock();
            self.push_printed(&mut end)?;
            self.push(&mut end, tag, parts)
        })
        .map_err(broken)
    }

    /// Shows a large value to the parent: its descriptor goes over the link. Waits where that is full, detached: the
    /// parent reads it as it comes to the records that were sent before.
    pub fn show(&self, py: Python<'_>, offer: &Offer, link: &Link) -> PyResult<()> {
        loop {
            match extent::show(offer, link, 0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                end => return Ok(end?),
            }
            if orphan::is_orphan() {
                serve::vanish(1);
            }
            self.ring();
            py.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
    }

    /// Adds to what was printed; sends it up to its last line's end.
    pub fn write(&self, _: &ProcessWorker, py: Python<'_>, stream: u8, text: &[u8]) -> PyResult<()> {
        py.detach(|| {
            let mut end = self.end.lock();
            if end.stream != stream {
                self.push_printed(&mut end)?;
                end.stream = stream;
            }
            end.printed.extend_from_slice(text);
            if text.contains(&b'\n') || end.printed.len() > PIECE {
                self.push_printed(&mut end)?;
            }
            Ok(())
        })
        .map_err(broken)
    }

    /// Sends what was printed.
    pub fn flush(&self, _: &ProcessWorker, py: Python<'_>) -> PyResult<()> {
        if let Some(end) = self.end.try_lock()
            && end.printed.is_empty()
        {
            return Ok(());
        }
        py.detach(|| self.push_printed(&mut self.end.lock()))
            .map_err(broken)
    }

    fn push_printed(&self, end: &mut End) -> Result<(), Corrupt> {
        let printed = std::mem::take(&mut end.printed);
        let mut rest = &printed[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(whole_characters(rest));
            self.push(end, up::OUTPUT, &[&[end.stream], piece])?;
            rest = after;
        }
        end.printed = printed;
        end.printed.clear();
        Ok(())
    }

    /// Publishes a record as soon as there is room for it.
    fn push(&self, end: &mut End, tag: u32, parts: &[&[u8]]) -> Result<(), Corrupt> {
        while !end.ring.push(tag, parts)? {
            self.ring();
            let room = std::ptr::from_ref(&end.ring.control().room);
            let length = parts.iter().map(|part| part.len()).sum();
            let mut fits = Ok(true);
            // SAFETY: the bell lies in the ring's memory, which the end keeps.
            unsafe { &*room }.sleep(Duration::MAX, || {
                fits = end.ring.fits(length);
                !matches!(fits, Ok(false))
            });
            fits?;
            if orphan::is_orphan() {
                serve::vanish(1);
            }
        }
        end.ring.publish();
        self.ring();
        Ok(())
    }

    /// Wakes the parent's reader if it sleeps.
    #[inline]
    fn ring(&self) {
        if self.bell.ring() {
            let one = 1_u64;
            // SAFETY: eight bytes that are there. It fails only where the counter is full, and the reader awake.
            unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }
}

/// How much of `text` makes a piece that ends where a character does.
fn whole_characters(text: &[u8]) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let begins = |at: &usize| text[*at] & 0xc0 != 0x80;
    (PIECE - 3..=PIECE).rev().find(begins).unwrap_or(PIECE)
}

#[cold]
pub fn broken(error: Corrupt) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "\u{416}\u{1f600}".repeat(PIECE);
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(whole_characters(rest));
            pieces.push(std::str::from_utf8(piece));
            rest = after;
        }
        assert!(pieces.len() > 5 && pieces.iter().all(Result::is_ok));
    }
}
