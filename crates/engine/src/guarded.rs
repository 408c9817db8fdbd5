//! A value that attached threads use one at a time, for a moment: the GIL is its lock where there is one.
//!
//! Who has the guard calls nothing that could run Python code or detach, as with a [`Latch`](plait_core::Latch); so on a
//! build with a GIL nobody else can come in between, and nothing has to be locked. Elsewhere it is a latch.

#[cfg(Py_GIL_DISABLED)]
pub use plait_core::Latch as Guarded;

#[cfg(not(Py_GIL_DISABLED))]
pub use with_gil::Guarded;

#[cfg(not(Py_GIL_DISABLED))]
mod with_gil {
    use std::cell::UnsafeCell;
    use std::ops::{Deref, DerefMut};

    /// A value that attached threads use one at a time.
    #[derive(Debug)]
    pub struct Guarded<T>(UnsafeCell<T>);

    // SAFETY: the value is reached only by attached threads, one at a time (module's text).
    unsafe impl<T: Send> Sync for Guarded<T> {}

    /// The only way to the value.
    #[derive(Debug)]
    #[must_use]
    pub struct Guard<'a, T>(&'a Guarded<T>);

    impl<T> Guarded<T> {
        /// Around `value`.
        pub const fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }

        /// Takes it; the thread is attached.
        #[inline]
        pub fn lock(&self) -> Guard<'_, T> {
            debug_assert!(
                // SAFETY: can be asked at any time.
                unsafe { pyo3::ffi::PyGILState_Check() } != 0,
                "a guarded value is for attached threads"
            );
            Guard(self)
        }

        /// As `lock`: nobody can have it while we are attached.
        #[inline]
        pub fn try_lock(&self) -> Option<Guard<'_, T>> {
            Some(self.lock())
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;
        #[inline]
        fn deref(&self) -> &T {
            // SAFETY: no other guard is in use while this thread is attached (module's text).
            unsafe { &*self.0.0.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as above.
            unsafe { &mut *self.0.0.get() }
        }
    }
}
