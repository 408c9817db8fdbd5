//! Who waits for what, held by whom; decides whether a set of threads waits for ever.
//!
//! Each blocked thread names the threads that could end its wait: the owner of a lock, the thread that is joined,
//! the worker that runs a future; all workers of a pool for a future that is still queued there. The
//! threads reachable over these edges from one that waits are its closure. If every thread of the closure is
//! itself blocked, none of them ever goes on: it takes all resolvers to be stuck, not one. A thread that
//! is not in its own closure only waits for a deadlock of others, which they report.
//!
//! The last wait to close a cycle finds it, so it is enough to look once, when a wait has lasted.

use std::collections::{BTreeMap, BTreeSet};

/// A thread, as `threading.get_ident()` names it.
pub type Ident = usize;

/// One thread's wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The threads that could end it.
    pub resolvers: Vec<Ident>,
    /// Whether nobody but these could. (A plain lock may be released by anyone.)
    pub only_these: bool,
}

/// What is to be said of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody can still go on.
    Fine,
    /// All that would be expected to end the wait are blocked themselves, but somebody else might.
    Possible(Vec<Ident>),
    /// Nobody can ever end it.
    Certain(Vec<Ident>),
}

/// Looks at the wait of `start`. The threads of the verdict are in the order of who waits for whom.
#[must_use]
pub fn examine(start: Ident, blocked: &BTreeMap<Ident, Wait>) -> Verdict {
    let mut seen = BTreeSet::from([start]);
    let mut order = Vec::new();
    let mut todo = vec![start];
    let (mut closed, mut certain) = (false, true);
    while let Some(thread) = todo.pop() {
        let Some(wait) = blocked.get(&thread).filter(|wait| !wait.resolvers.is_empty()) else {
            return Verdict::Fine;
        };
        order.push(thread);
        certain &= wait.only_these;
        for &resolver in wait.resolvers.iter().rev() {
            closed |= resolver == start;
            if seen.insert(resolver) {
                todo.push(resolver);
            }
        }
    }
    match (closed, certain) {
        (false, _) => Verdict::Fine,
        (true, false) => Verdict::Possible(order),
        (true, true) => Verdict::Certain(order),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn graph(waits: &[(Ident, &[Ident], bool)]) -> BTreeMap<Ident, Wait> {
        waits
            .iter()
            .map(|&(thread, resolvers, only_these)| {
                (
                    thread,
                    Wait {
                        resolvers: resolvers.to_vec(),
                        only_these,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn a_chain_that_ends_in_a_running_thread_is_fine() {
        assert_eq!(
            examine(1, &graph(&[(1, &[2], true), (2, &[3], true)])),
            Verdict::Fine
        );
    }

    #[test]
    fn a_cycle_is_certain_only_if_every_edge_is() {
        assert_eq!(
            examine(1, &graph(&[(1, &[2], true), (2, &[1], true)])),
            Verdict::Certain(vec![1, 2])
        );
        assert_eq!(
            examine(1, &graph(&[(1, &[2], true), (2, &[1], false)])),
            Verdict::Possible(vec![1, 2])
        );
    }

    #[test]
    fn a_thread_can_wait_for_itself() {
        assert_eq!(examine(7, &graph(&[(7, &[7], true)])), Verdict::Certain(vec![7]));
    }

    #[test]
    fn a_pool_is_exhausted_only_when_all_its_workers_are_stuck() {
        let all = graph(&[(1, &[1, 2], true), (2, &[1, 2], true)]);
        assert_eq!(examine(2, &all), Verdict::Certain(vec![2, 1]));
        assert_eq!(examine(1, &graph(&[(1, &[1, 2], true)])), Verdict::Fine);
    }

    #[test]
    fn whoever_waits_for_a_deadlock_of_others_is_not_its_reporter() {
        let graph = graph(&[(1, &[2], true), (2, &[3], true), (3, &[2], true)]);
        assert_eq!(examine(1, &graph), Verdict::Fine);
        assert_eq!(examine(3, &graph), Verdict::Certain(vec![3, 2]));
    }

    #[test]
    fn a_wait_that_nobody_is_known_to_end_is_fine() {
        assert_eq!(examine(1, &graph(&[(1, &[], true)])), Verdict::Fine);
    }
}
