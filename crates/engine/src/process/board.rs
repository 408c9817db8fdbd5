//! What a worker says of itself, and what it is told, in words that both sides have mapped; and the bell of the pool.
//!
//! A slot of the board is the life of one record on its way down. Its word carries the record's sequence number beside
//! the state, so that a slot that has been given to a later record is never taken for an earlier one:
//!
//! ```text
//!   31                      2 1  0
//!  | sequence, its low 30 bits | state |        FREE 0, QUEUED 1, CLAIMED 2, WITHDRAWN 3
//! ```
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | any → QUEUED | parent, before it publishes the record | store |
//! | QUEUED → CLAIMED | worker, before it makes the call | compare-exchange |
//! | QUEUED → WITHDRAWN | parent | compare-exchange |
//! | any → FREE | parent, when the record is over | store |
//!
//! So a record is either claimed or withdrawn, never both: one compare-exchange of two has to fail. The record itself is
//! published by the ring; the words order nothing else. A worker that writes nonsense here loses its own calls and no other's.

use super::protocol::SLOTS;
use plait_ring::Page;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const QUEUED: u32 = 1;
const CLAIMED: u32 = 2;
const WITHDRAWN: u32 = 3;

/// What lies in the page. The worker's words and the parent's are on lines of their own.
#[repr(C)]
struct Words {
    running: Line,
    interrupt: Line,
    slots: [AtomicU32; SLOTS],
}

#[repr(C, align(64))]
struct Line(AtomicU64);

/// The board of one worker.
#[derive(Debug)]
pub struct Board(Page);

impl Board {
    /// A new one: nothing runs, all slots are free.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new() -> Result<Self> {
        Ok(Self(Page::new(c"plait-board", size_of::<Words>())?))
    }

    /// The one behind a descriptor that the parent has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is none.
    pub fn open(file: OwnedFd) -> Result<Self> {
        let page = Page::open(file)?;
        if page.len() < size_of::<Words>() {
            return Err(Error::new(ErrorKind::InvalidData, "not a worker's board"));
        }
        Ok(Self(page))
    }

    fn words(&self) -> &Words {
        // SAFETY: the page is long enough (both constructors see to it), begins at the boundary of a page, lives as long
        // as self, and what lies in it are atomics, which any bytes are.
        unsafe { self.0.ptr().cast().as_ref() }
    }

    fn slot(&self, sequence: u32) -> &AtomicU32 {
        &self.words().slots[sequence as usize % SLOTS]
    }

    /// The task that runs; 0 if none does.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.words().running.0.load(Ordering::Acquire)
    }

    /// The worker says that a task runs now, or (0) none. What it has published before is seen before this.
    #[inline]
    pub fn set_running(&self, task: u64) {
        self.words().running.0.store(task, Ordering::Release);
    }

    /// The task that is to stop; 0 if none is.
    #[inline]
    #[must_use]
    pub fn interrupt(&self) -> u64 {
        self.words().interrupt.0.load(Ordering::Acquire)
    }

    /// The parent wants this task to stop; the signal that makes the worker look follows.
    pub fn set_interrupt(&self, task: u64) {
        self.words().interrupt.0.store(task, Ordering::Release);
    }

    /// The parent is about to publish the record.
    #[inline]
    pub fn queue(&self, sequence: u32) {
        self.slot(sequence)
            .store(sequence << 2 | QUEUED, Ordering::Release);
    }

    /// The worker takes the record, unless it has been withdrawn (false).
    #[inline]
    #[must_use]
    pub fn claim(&self, sequence: u32) -> bool {
        self.settle(sequence, CLAIMED)
    }

    /// The parent takes the record back, unless the worker has claimed it (false).
    #[inline]
    #[must_use]
    pub fn withdraw(&self, sequence: u32) -> bool {
        self.settle(sequence, WITHDRAWN)
    }

    #[inline]
    fn settle(&self, sequence: u32, state: u32) -> bool {
        let queued = sequence << 2 | QUEUED;
        self.slot(sequence)
            .compare_exchange(queued, sequence << 2 | state, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The record is over: its result has come, or the next one's.
    #[inline]
    pub fn free(&self, sequence: u32) {
        self.slot(sequence).store(sequence << 2, Ordering::Release);
    }

    /// Whether the worker has taken the record, and its result has not been seen yet.
    #[must_use]
    pub fn is_claimed(&self, sequence: u32) -> bool {
        self.slot(sequence).load(Ordering::Acquire) == sequence << 2 | CLAIMED
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// Whether the reader of a pool sleeps: one word for all workers of the pool.
///
/// As with the bell of a ring, both sides store, fence, and load what the other stores, so no wake-up is lost:
/// the reader stores ASLEEP ([`doze`](Self::doze)) and looks at the rings once more before it sleeps; a worker publishes its
/// record and looks here. The wake-up itself is a write to an eventfd by whoever takes the word back to AWAKE.
#[derive(Debug)]
pub struct Doorbell(Page);

impl Doorbell {
    /// A new one: the reader is awake.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors.
    pub fn new() -> Result<Self> {
        Ok(Self(Page::new(c"plait-bell", size_of::<Line>())?))
    }

    /// The one behind a descriptor that the parent has handed over.
    ///
    /// # Errors
    /// The system's; `InvalidData` if it is none.
    pub fn open(file: OwnedFd) -> Result<Self> {
        let page = Page::open(file)?;
        if page.len() < size_of::<AtomicU32>() {
            return Err(Error::new(ErrorKind::InvalidData, "not a pool's bell"));
        }
        Ok(Self(page))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is long enough, begins at the boundary of a page, and lives as long as self; any bytes are an atomic.
        unsafe { self.0.ptr().cast().as_ref() }
    }

    /// The reader is about to sleep: it looks at the rings after this, and sleeps if there is nothing.
    pub fn doze(&self) {
        self.word().store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The reader is up, or others read in its place.
    pub fn rouse(&self) {
        self.word().store(AWAKE, Ordering::Relaxed);
    }

    /// A record was published. True: the reader sleeps, and the caller is the one to write to the eventfd.
    #[inline]
    #[must_use]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.word().load(Ordering::Relaxed) == ASLEEP && self.word().swap(AWAKE, Ordering::Relaxed) == ASLEEP
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use super::*;

    fn twin(board: &Board) -> Board {
        Board::open(board.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_claimed_or_withdrawn() {
        let parent = Board::new().unwrap();
        let worker = twin(&parent);
        assert!(!worker.claim(5), "nothing is queued");
        parent.queue(5);
        assert!(worker.claim(5) && !parent.withdraw(5) && parent.is_claimed(5));
        parent.free(5);
        assert!(!parent.is_claimed(5) && !worker.claim(5));
        parent.queue(6);
        assert!(parent.withdraw(6) && !worker.claim(6));
    }

    #[test]
    fn a_slot_that_a_later_record_has_is_not_taken_for_an_earlier_ones() {
        let board = Board::new().unwrap();
        let later = 5 + SLOTS as u32;
        board.queue(5);
        board.queue(later);
        assert!(!board.claim(5) && !board.withdraw(5));
        assert!(board.claim(later) && !board.is_claimed(5));
        board.queue(u32::MAX);
        assert!(board.claim(u32::MAX));
    }

    #[test]
    fn racing_sides_do_not_both_win() {
        let parent = Board::new().unwrap();
        let worker = twin(&parent);
        for sequence in 0..2_000 {
            parent.queue(sequence);
            let (claimed, withdrawn) = std::thread::scope(|scope| {
                let claimed = scope.spawn(|| worker.claim(sequence));
                (parent.withdraw(sequence), claimed.join().unwrap())
            });
            assert!(claimed != withdrawn);
        }
    }

    #[test]
    fn the_words_are_seen_by_the_other_side() {
        let parent = Board::new().unwrap();
        let worker = twin(&parent);
        worker.set_running(7);
        parent.set_interrupt(8);
        assert_eq!((parent.running(), worker.interrupt()), (7, 8));
        let small = Page::new(c"small", 8).unwrap();
        let refused = Board::open(small.as_fd().try_clone_to_owned().unwrap());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn one_of_those_who_ring_wakes() {
        let bell = Doorbell::new().unwrap();
        let other = Doorbell::open(bell.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert!(!other.ring());
        bell.doze();
        assert!(other.ring() && !other.ring());
        bell.doze();
        bell.rouse();
        assert!(!other.ring());
    }
}
