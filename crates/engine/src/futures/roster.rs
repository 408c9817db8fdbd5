//! Who works off a queue: the threads of a pool, the one that runs an event loop.
//!
//! A future that nobody has begun knows its queue by number only. The watch over waits asks here who could ever begin it,
//! detached and under its latch: so a roster holds nothing of Python's.

use plait_core::{Latch, Spin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// Who works off one queue.
#[derive(Debug)]
pub struct Roster {
    /// What futures know it by; never 0.
    pub id: u32,
    /// So many there can be.
    most: usize,
    idents: Latch<Vec<usize>>,
}

static ROSTERS: Latch<Vec<Weak<Roster>>> = Latch::new(Vec::new());
static NEXT: AtomicU32 = AtomicU32::new(1);

const PLACES: usize = 64;
static SPINS: [Spin; PLACES] = [const { Spin::new() }; PLACES];

/// The score of waits for the futures of one roster (several may share it); 0 for those of none.
#[inline]
pub fn spin(id: u32) -> &'static Spin {
    &SPINS[id as usize % PLACES]
}

/// All that work off the queue `id`, if there can be no more of them; else none. Needs no interpreter.
pub fn everyone(id: u32) -> Vec<usize> {
    let rosters = ROSTERS.lock();
    let roster = rosters
        .iter()
        .filter_map(Weak::upgrade)
        .find(|roster| roster.id == id);
    roster.map_or_else(Vec::new, |roster| {
        let idents = roster.idents.lock();
        if idents.len() == roster.most {
            idents.clone()
        } else {
            Vec::new()
        }
    })
}

impl Roster {
    /// One with nobody on it.
    pub fn new(most: usize) -> Arc<Self> {
        let roster = Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            most,
            idents: Latch::new(Vec::new()),
        });
        let mut rosters = ROSTERS.lock();
        rosters.retain(|roster| roster.strong_count() > 0);
        rosters.push(Arc::downgrade(&roster));
        roster
    }

    /// A thread begins to work.
    pub fn enter(&self, ident: usize) {
        self.idents.lock().push(ident);
    }

    /// It is about to end.
    pub fn exit(&self, ident: usize) {
        self.idents.lock().retain(|other| *other != ident);
    }

    /// Nobody works any more.
    pub fn clear(&self) {
        self.idents.lock().clear();
    }
}
