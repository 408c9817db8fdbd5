//! Large values: from a sender's arena into a receiver's inbox and back, with forks, deaths and nonsense.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::arena::{Figures, Limits};
use crate::parcel::{Refused, pack};
use crate::segment::{HEAD, SLOTS};
use crate::{Arena, Inbox, Offer, Parcel, Part};
use std::collections::VecDeque;
use std::io::Result;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tests that fork pin what the others hold: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a socket would be.
#[derive(Default)]
struct Wire(VecDeque<(Vec<u8>, OwnedFd)>);

impl Wire {
    fn send(&mut self, text: &[u8], file: BorrowedFd<'_>) -> Result<()> {
        self.0.push_back((text.to_vec(), file.try_clone_to_owned()?));
        Ok(())
    }

    fn show(&mut self, offer: &Offer, receiver: u64) {
        offer.show(receiver, |text, file| self.send(text, file)).unwrap();
    }

    fn open(&mut self, inbox: &mut Inbox, body: &[u8]) -> std::result::Result<Parcel, Refused> {
        inbox.open(body, || Ok(self.0.pop_front()))
    }
}

fn bytes(part: &Part) -> Vec<u8> {
    // SAFETY: the sender of these tests is this process, and leaves them alone.
    unsafe { std::slice::from_raw_parts(part.ptr(), part.len()) }.to_vec()
}

fn value(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|at| ((at ^ (at >> 9)) as u8).wrapping_add(seed as u8))
        .collect()
}

fn packed(arena: &Arc<Arena>, pickle: &[u8], buffers: &[&[u8]]) -> (Vec<u8>, Offer) {
    let mut body = Vec::new();
    let offer = pack(arena, pickle, buffers, &mut body).unwrap();
    (body, offer)
}

fn forget(figures: Figures) -> (usize, usize) {
    (figures.segments, figures.out)
}

#[test]
fn values_arrive_whole_and_their_slot_is_used_again() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    for round in 0..20 {
        // Longer and shorter ones in turn: parts of the slot are written for the first time in later rounds.
        let long = value(100_000 + round % 5 * 7_000 + round, round);
        let (body, offer) = packed(&arena, b"pickle", &[&long, &[], &long[..round]]);
        wire.show(&offer, 0);
        offer.send();
        let parcel = wire.open(&mut inbox, &body).unwrap();
        assert_eq!(bytes(&parcel.pickle), b"pickle");
        let parts: Vec<_> = parcel.buffers.iter().map(bytes).collect();
        assert_eq!(parts, [&long[..], &[], &long[..round]]);
        assert!(
            parcel
                .buffers
                .iter()
                .all(|part| (part.ptr() as usize).is_multiple_of(64))
        );
        assert_eq!(arena.figures().out, 1);
        let Parcel { pickle, mut buffers } = parcel;
        drop(pickle);
        let last = buffers.pop();
        drop(buffers);
        assert_eq!(arena.figures().out, 1, "one part is left");
        drop(last);
        assert_eq!(arena.figures().out, 0);
    }
    assert!(arena.figures().segments <= 3 && inbox.len() <= 3);
    arena.trim(Duration::ZERO);
    assert_eq!(arena.figures(), Figures::default());
}

#[test]
fn many_on_their_way_need_few_segments() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let all: Vec<_> = (0..400)
        .map(|at| packed(&arena, &value(70_000, at), &[]))
        .collect();
    let figures = arena.figures();
    assert!(figures.segments < 8 && figures.out == 400, "{figures:?}");
    for (at, (body, offer)) in all.iter().enumerate() {
        wire.show(offer, 1);
        let parcel = wire.open(&mut inbox, body).unwrap();
        assert_eq!(bytes(&parcel.pickle), value(70_000, at));
    }
    assert_eq!(inbox.len(), figures.segments);
    drop(all);
    assert_eq!(forget(arena.figures()), (figures.segments, 0));
    // The budget holds when the next segment is made.
    let arena = Arena::new(Limits {
        bytes: 1 << 20,
        segments: 1,
    });
    for size in [200_000, 300_000, 400_000, 900_000, 2_000_000] {
        drop(packed(&arena, &value(size, 0), &[]));
    }
    assert!(arena.figures().segments <= 2, "{:?}", arena.figures());
}

#[test]
fn a_value_that_nobody_has_taken_can_be_withdrawn() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let (body, offer) = packed(&arena, b"x", &[]);
    wire.show(&offer, 1);
    drop(offer);
    assert_eq!(arena.figures().out, 0);
    assert_eq!(wire.open(&mut inbox, &body).unwrap_err(), Refused("not offered"));
    // The next life of the slot is not reached by the name of the one before.
    let (again, offer) = packed(&arena, b"y", &[]);
    wire.show(&offer, 1);
    assert!(wire.open(&mut inbox, &body).is_err());
    assert_eq!(bytes(&wire.open(&mut inbox, &again).unwrap().pickle), b"y");
    assert!(wire.open(&mut inbox, &again).is_err(), "it was taken once");
}

#[test]
fn what_a_dead_receiver_held_is_sent_again_and_never_written_to() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut first, mut second) = (Wire::default(), Inbox::new(), Inbox::new());
    let (body, offer) = packed(&arena, &value(100_000, 1), &[]);
    wire.show(&offer, 1);
    let orphan = wire.open(&mut first, &body).unwrap();
    arena.gone(1);
    wire.show(&offer, 2);
    let parcel = wire.open(&mut second, &body).unwrap();
    drop(offer);
    // Nobody knows whether children of the first still read: other values go elsewhere.
    let (_other, offer) = packed(&arena, &value(100_000, 2), &[]);
    assert_eq!(offer.id(), 2);
    drop(parcel);
    drop(offer);
    let (_other, offer) = packed(&arena, &value(100_000, 3), &[]);
    assert_eq!((offer.id(), arena.figures().segments), (2, 1));
    assert_eq!(bytes(&orphan.pickle), value(100_000, 1));
}

#[test]
fn what_a_dead_receiver_had_not_touched_is_as_good_as_new() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let (body, offer) = packed(&arena, b"queued", &[]);
    wire.show(&offer, 1);
    let (sent, once) = packed(&arena, b"sent", &[]);
    wire.show(&once, 1);
    once.send();
    wire.0.clear();
    arena.gone(1);
    assert_eq!(arena.figures().out, 1, "what was sent for good is withdrawn");
    wire.show(&offer, 2);
    assert_eq!(bytes(&wire.open(&mut inbox, &body).unwrap().pickle), b"queued");
    drop(offer);
    assert!(wire.open(&mut inbox, &sent).is_err());
    assert_eq!(arena.figures().out, 0);
    assert_eq!(arena.figures().segments, 2);
}

#[test]
fn a_second_attempt_while_the_first_one_still_reads() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let (body, offer) = packed(&arena, &value(70_000, 4), &[]);
    wire.show(&offer, 1);
    let first = wire.open(&mut inbox, &body).unwrap();
    wire.show(&offer, 1);
    let second = wire.open(&mut inbox, &body).unwrap();
    drop(offer);
    drop(first);
    let (_body, other) = packed(&arena, &value(70_000, 5), &[]);
    assert_eq!(other.id(), 2);
    assert_eq!(bytes(&second.pickle), value(70_000, 4));
}

#[test]
fn nonsense_is_refused() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let (body, offer) = packed(&arena, b"pickle", &[b"buffer"]);
    wire.show(&offer, 1);
    for length in 0..body.len() {
        assert!(wire.open(&mut inbox, &body[..length]).is_err());
    }
    let mut spoil = |at: usize, with: u64| {
        let mut body = body.clone();
        body[at..at + 8].copy_from_slice(&with.to_le_bytes());
        wire.open(&mut inbox, &body).is_err()
    };
    let end = (HEAD + 65_536) as u64;
    for at in [16, 32] {
        for with in [0, 64, HEAD as u64 - 1, end, u64::MAX, u64::MAX - 3] {
            assert!(spoil(at, with), "start {with}");
        }
        for with in [end, u64::MAX, 1 << 63] {
            assert!(spoil(at + 8, with), "length {with}");
        }
    }
    assert!(spoil(0, 7) && spoil(4, SLOTS as u64 | 1 << 32) && spoil(8, u64::MAX));
    assert!(
        spoil(4, 3 | 1 << 32),
        "a slot of this segment that it does not have"
    );
    assert_eq!(
        bytes(&wire.open(&mut inbox, &body).unwrap().buffers[0]),
        b"buffer"
    );
    let file = || crate::Page::new(c"plait-test", 1 << 16).unwrap();
    for text in [&b"seg:\x09\0\0\0"[..], b"seg", b"geg:\x09\0\0\0"] {
        wire.send(text, std::os::fd::AsFd::as_fd(&file())).unwrap();
        let mut other = body.clone();
        other[0] = 9;
        assert!(wire.open(&mut inbox, &other).is_err());
    }
}

#[test]
fn bodies_of_any_bytes_read_within_the_segment_or_are_refused() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut opened = 0;
    for _ in 0..3000 {
        let (mut body, offer) = packed(&arena, b"pickle", &[b"buffer", b""]);
        wire.show(&offer, 1);
        for _ in 0..=random() % 3 {
            let at = random() as usize % body.len();
            body[at] = match random() % 3 {
                0 => random() as u8,
                1 => body[at].wrapping_add(1),
                _ => 0xff,
            };
        }
        if let Ok(parcel) = wire.open(&mut inbox, &body) {
            opened += 1;
            for part in parcel.buffers.iter().chain([&parcel.pickle]) {
                let _read: u64 = bytes(part).iter().map(|byte| u64::from(*byte)).sum();
            }
        }
    }
    assert!(opened > 0 && arena.figures().segments == 1);
}

/// Runs `child` in a forked process; true if it says so.
fn in_a_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child touches its own memory and ends; it takes no lock that another thread may hold.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(i32::from(!child()));
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}

#[test]
fn a_fork_of_the_receiver_gives_nothing_back() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let (mut wire, mut inbox) = (Wire::default(), Inbox::new());
    let (body, offer) = packed(&arena, &value(70_000, 6), &[]);
    wire.show(&offer, 0);
    offer.send();
    let mut parcel = Some(wire.open(&mut inbox, &body).unwrap());
    assert!(in_a_child(|| {
        drop(parcel.take());
        true
    }));
    assert_eq!(forget(arena.figures()), (1, 1), "the child has let go of it");
    // Now we do: the child may live, for all we know.
    drop(parcel);
    let (_body, offer) = packed(&arena, &value(70_000, 7), &[]);
    assert_eq!(offer.id(), 2);
}

#[test]
fn a_killed_receiver_costs_the_segment_that_it_read() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    let mut wire = Wire::default();
    let (body, offer) = packed(&arena, &value(3_000_000, 8), &[]);
    wire.show(&offer, 5);
    // SAFETY: as in `in_a_child`.
    unsafe {
        let (mut told, mut tell) = std::io::pipe().unwrap();
        let pid = libc::fork();
        if pid == 0 {
            let mut inbox = Inbox::new();
            let parcel = wire.open(&mut inbox, &body);
            let good = parcel.is_ok_and(|parcel| {
                let good = bytes(&parcel.pickle) == value(3_000_000, 8);
                std::mem::forget(parcel);
                good
            });
            let _ = std::io::Write::write(&mut tell, &[u8::from(good)]);
            loop {
                libc::pause();
            }
        }
        let mut good = [0];
        std::io::Read::read_exact(&mut told, &mut good).unwrap();
        assert_eq!(good, [1]);
        drop(offer);
        let (_body, other) = packed(&arena, &value(3_000_000, 9), &[]);
        assert_ne!(other.id(), 1, "it is read");
        drop(other);
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    assert_eq!(forget(arena.figures()), (2, 1));
    arena.gone(5);
    assert_eq!(forget(arena.figures()), (1, 0));
}

#[test]
fn what_cannot_be_had_is_an_error() {
    let _alone = alone();
    let arena = Arena::new(Limits::default());
    for size in [usize::MAX, isize::MAX as usize, 1 << 60] {
        assert_eq!(arena.offer(size).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }
    let refused = |size: usize| arena.offer(size).unwrap_err().raw_os_error() == Some(libc::EFBIG);
    assert!(in_a_child(|| {
        let limit = libc::rlimit {
            rlim_cur: 100_000,
            rlim_max: 100_000,
        };
        // SAFETY: the limit outlives the call.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        refused(100_000) && refused(1 << 20) && arena.offer(50_000).is_ok()
    }));
}
