//! The only place that picks std's atomics or loom's.

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell as LoomCell,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// `UnsafeCell` with loom's interface, so that loom checks every access that a latch is meant to guard.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub(crate) struct Slot<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> Slot<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Runs `f` on the value. Nobody writes it meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Runs `f` on the value. The caller has it to itself.
    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// `UnsafeCell` with loom's interface, so that loom checks every access that a latch is meant to guard.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Slot<T>(LoomCell<T>);

#[cfg(loom)]
impl<T> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(LoomCell::new(value))
    }

    /// Runs `f` on the value. Nobody writes it meanwhile.
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.0.with(f)
    }

    /// Runs `f` on the value. The caller has it to itself.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}

/// A pause of a busy loop; under loom it hands the model on.
#[inline]
pub(crate) fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}
