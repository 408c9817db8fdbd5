//! The waits that have lasted, of all threads: one map behind one latch.
//!
//! # What an entry points to
//! The reason of a wait and its waiter lie on the stack of the thread that waits; its [`Watch`](super::Watch)
//! borrows both, and takes the entry out when it is dropped. So whoever holds the latch may follow the
//! pointers of every entry. Nothing of Python runs under the latch, except that references are counted up:
//! the object of an entry is alive as long as the wait.
//!
//! An entry with an older fork generation belongs to a thread that is not in this process: the map is forgotten,
//! without being walked or freed, as it may be half changed.
//!
//! # What counts as blocked
//! A thread whose innermost wait is entered, has not been notified, and does not run a signal handler just now.

use super::{Link, Reason};
use crate::held::Held;
use plait_core::graph::{self, Ident, Verdict, Wait};
use plait_core::{Latch, Waiter, fork};
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// A wait as an entry knows it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Never twice the same in one process.
    serial: u64,
    generation: u32,
    reason: NonNull<dyn Reason>,
    /// None where the interpreter waits, and not the engine (a join).
    waiter: Option<NonNull<Waiter>>,
    /// Runs a signal handler, or shows a warning.
    awake: bool,
    /// A warning has told of this wait: as part of a cycle, as one of all threads.
    told: [bool; 2],
}

// SAFETY: the pointers are followed only under the latch, while they are valid (module's text).
unsafe impl Send for Entry {}

impl Entry {
    fn blocked(&self) -> bool {
        // SAFETY: module's text: the entry is in the map, and the caller holds the latch.
        !self.awake
            && self
                .waiter
                .is_none_or(|waiter| unsafe { waiter.as_ref() }.notified().is_none())
    }

    fn reason(&self) -> &dyn Reason {
        // SAFETY: module's text: the entry is in the map, and the caller holds the latch.
        unsafe { self.reason.as_ref() }
    }
}

struct State {
    generation: u32,
    serial: u64,
    entries: BTreeMap<Ident, Entry>,
}

static STATE: Latch<State> = Latch::new(State {
    generation: 0,
    serial: 0,
    entries: BTreeMap::new(),
});

/// Runs `f` on the entries of this process, under the latch.
fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    let mut state = STATE.lock();
    let now = fork::generation();
    if state.generation != now {
        std::mem::forget(std::mem::take(&mut state.entries));
        state.generation = now;
    }
    f(&mut state)
}

/// One thread's wait, as it was entered.
pub type Key = (Ident, u64);

/// What is to be said of one thread's wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// Somebody whom it depends on runs.
    Runs(Ident),
    /// It depends on a wait that anyone might end.
    Anyone,
    /// It waits for a deadlock of others.
    Others,
    /// It waits for itself, in the end: the threads in order of who waits for whom, and whether only these can end it.
    Cycle(Vec<Key>, bool),
}

/// One line of a report.
#[derive(Debug)]
pub struct Line {
    pub thread: Ident,
    pub object: Held,
    pub action: &'static str,
    pub link: Link,
    pub resolvers: Vec<Ident>,
}

/// What became of a claim to report.
#[derive(Debug)]
pub enum Claim {
    /// It is the caller's to report.
    Yours(Vec<Line>),
    /// It has been told of.
    Told,
    /// Somebody goes on.
    Gone,
}

/// Enters the wait of thread `me`. The entry that it hides, of a wait around this one, goes to [`leave`].
///
/// # Safety
/// Both pointers stay valid until [`leave`].
pub unsafe fn enter(
    me: Ident,
    reason: NonNull<dyn Reason>,
    waiter: Option<NonNull<Waiter>>,
) -> (Key, Option<Entry>) {
    with(|state| {
        state.serial += 1;
        let entry = Entry {
            serial: state.serial,
            generation: state.generation,
            reason,
            waiter,
            awake: false,
            told: [false; 2],
        };
        ((me, entry.serial), state.entries.insert(me, entry))
    })
}

/// Takes a wait out, and puts back the one around it.
pub fn leave((me, serial): Key, around: Option<Entry>) {
    with(|state| {
        if state.entries.get(&me).is_none_or(|entry| entry.serial == serial) {
            state.entries.remove(&me);
            if let Some(around) = around.filter(|entry| entry.generation == state.generation) {
                state.entries.insert(me, around);
            }
        }
    });
}

/// Whether the entry is (still) there: not after a fork.
pub fn holds((me, serial): Key) -> bool {
    with(|state| state.entries.get(&me).is_some_and(|entry| entry.serial == serial))
}

/// Says that the thread runs, in the midst of its wait; or that it does no more.
pub fn set_awake((me, serial): Key, awake: bool) {
    with(|state| {
        if let Some(entry) = state.entries.get_mut(&me).filter(|entry| entry.serial == serial) {
            entry.awake = awake;
        }
    });
}

/// How many waits are entered.
pub fn len() -> usize {
    with(|state| state.entries.len())
}

/// Looks at the wait of thread `me`. Asks only the threads that it depends on, and stops at the first that runs.
pub fn examine(me: Ident) -> Finding {
    with(|state| {
        let mut waits: BTreeMap<Ident, Wait> = BTreeMap::new();
        let mut todo = vec![me];
        let mut anyone = false;
        while let Some(thread) = todo.pop() {
            if waits.contains_key(&thread) {
                continue;
            }
            let Some(entry) = state.entries.get(&thread).filter(|entry| entry.blocked()) else {
                return Finding::Runs(thread);
            };
            let wait = entry.reason().resolvers();
            anyone |= wait.resolvers.is_empty();
            todo.extend(&wait.resolvers);
            waits.insert(thread, wait);
        }
        if anyone {
            return Finding::Anyone;
        }
        let (threads, certain) = match graph::examine(me, &waits) {
            Verdict::Fine => return Finding::Others,
            Verdict::Possible(threads) => (threads, false),
            Verdict::Certain(threads) => (threads, true),
        };
        let keys = threads
            .into_iter()
            .filter_map(|thread| Some((thread, state.entries.get(&thread)?.serial)))
            .collect();
        Finding::Cycle(keys, certain)
    })
}

/// The waits of all these threads, if each of them is blocked.
pub fn all_blocked(threads: &[Ident]) -> Option<Vec<Key>> {
    with(|state| {
        threads
            .iter()
            .map(|thread| {
                let entry = state.entries.get(thread).filter(|entry| entry.blocked())?;
                Some((*thread, entry.serial))
            })
            .collect()
    })
}

/// Who the thread waits for, if just one, and only that one can end its wait because it holds something.
pub fn holder(me: Ident) -> Option<Ident> {
    with(|state| {
        let reason = state.entries.get(&me)?.reason();
        match (reason.link(), reason.resolvers()) {
            (Link::Held, wait) if wait.only_these && wait.resolvers.len() == 1 => {
                wait.resolvers.first().copied()
            }
            _ => None,
        }
    })
}

/// The threads that are joined in these waits, and their idents.
pub fn joined(keys: &[Key]) -> Vec<(Held, Ident)> {
    with(|state| {
        keys.iter()
            .filter_map(|(thread, _)| {
                let reason = state.entries.get(thread)?.reason();
                let ident = *reason.resolvers().resolvers.first()?;
                // SAFETY: the object of an entry is alive (module's text), and the caller is attached.
                (reason.link() == Link::Same).then(|| (unsafe { Held::new(reason.object()) }, ident))
            })
            .collect()
    })
}

/// Claims the report of the waits `keys` for their first thread: only one thread gets it.
/// With `raise` that thread's wait is taken out, so that it is not part of anything any more.
pub fn claim(keys: &[Key], everyone: bool, raise: bool) -> Claim {
    let told = usize::from(everyone);
    with(|state| {
        let unchanged = |&(thread, serial): &Key| {
            let entry = state.entries.get(&thread);
            entry.is_some_and(|entry| entry.serial == serial && entry.blocked())
        };
        if !keys.iter().all(unchanged) {
            return Claim::Gone;
        }
        let entries = || {
            keys.iter()
                .filter_map(|(thread, _)| Some((*thread, state.entries.get(thread)?)))
        };
        if !raise && entries().all(|(_, entry)| entry.told[told]) {
            return Claim::Told;
        }
        let line = |(thread, entry): (Ident, &Entry)| {
            let reason = entry.reason();
            Line {
                thread,
                // SAFETY: the object of an entry is alive (module's text), and the caller is attached.
                object: unsafe { Held::new(reason.object()) },
                action: reason.action(),
                link: reason.link(),
                resolvers: reason.resolvers().resolvers,
            }
        };
        let lines = entries().map(line).collect();
        for (at, (thread, _)) in keys.iter().enumerate() {
            if raise && at == 0 {
                state.entries.remove(thread);
            } else if let Some(entry) = state.entries.get_mut(thread) {
                entry.told[told] = true;
            }
        }
        Claim::Yours(lines)
    })
}
