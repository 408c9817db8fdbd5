//! A lock: one word, which says who holds it.

use crate::futex::Woken;
use crate::life;
use crate::owner::{Identity, OwnerWord};
use crate::slab::Shared;
use crate::{Busy, How, Site};
use std::time::Duration;

/// In shared memory; all zeroes is a free one.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Lock {
    word: OwnerWord,
}

// SAFETY: atomics only.
unsafe impl Shared for Lock {}

impl Lock {
    /// Takes it if it is free.
    #[inline]
    #[must_use]
    pub fn try_take(&self) -> bool {
        self.word.take(life::me())
    }

    /// Frees it, whoever holds it. False if nobody does.
    #[inline]
    #[must_use]
    pub fn free(&self) -> bool {
        self.word.free()
    }

    /// Which process holds it, or held it when it died.
    #[inline]
    #[must_use]
    pub fn holder(&self) -> Option<Identity> {
        self.word.holder()
    }
}

impl Site for &Lock {
    /// Whether the one that held it has died.
    type Got = bool;
    const THOROUGH: bool = true;

    fn attempt(&mut self, how: How) -> Result<Option<bool>, Busy> {
        let me = life::me();
        let taken = if how.slept {
            self.word.take_slept(me)
        } else {
            self.word.take(me)
        };
        if taken {
            return Ok(Some(false));
        }
        if how.thorough
            && let Some(holder) = self.word.holder()
            && !life::is_alive(holder)
            && self.word.take_over(holder, me)
        {
            return Ok(Some(true));
        }
        Ok(None)
    }

    fn sleep(&self, at_most: Duration) -> Woken {
        self.word.sleep(at_most)
    }
}
