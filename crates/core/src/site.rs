//! What the wait door asks of a primitive.

use crate::spin::Spin;
use crate::waiter::Waiter;

/// Something that can be waited for. The door knows how to wait; the site knows for what.
///
/// The order of calls for one waiter: [`take_or_enqueue`](Site::take_or_enqueue) until it returns true,
/// with `again` set once the waiter has been notified; or [`leave`](Site::leave), once, when the wait
/// ends early. No wake-up is lost, because a notification is either used (`take_or_enqueue` with
/// `again`) or handed on (`leave` of a waiter that is no longer in the list).
pub trait Site {
    /// Takes what is waited for and returns true, or puts `waiter` in the list and returns false: both
    /// under the site's latch, so that nothing can be given between the look and the enqueuing.
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool;

    /// Takes `waiter` out of the list. False if it had been notified already: what it was notified of
    /// is then still there to be taken, or to be handed on by [`pass_on`](Site::pass_on).
    fn leave(&self, waiter: &Waiter) -> bool;

    /// Hands a notification on that a waiter got and will not use.
    fn pass_on(&self);

    /// The score of spinning here.
    fn spin(&self) -> &Spin;
}

impl<S: Site + ?Sized> Site for &S {
    fn take_or_enqueue(&self, waiter: &Waiter, again: bool) -> bool {
        (**self).take_or_enqueue(waiter, again)
    }

    fn leave(&self, waiter: &Waiter) -> bool {
        (**self).leave(waiter)
    }

    fn pass_on(&self) {
        (**self).pass_on();
    }

    fn spin(&self) -> &Spin {
        (**self).spin()
    }
}
