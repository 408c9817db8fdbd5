//! What a queue consists of, and how its storage changes.

use super::Kind;
use super::capacity::Capacity;
use super::hooks::Hooks;
use super::part::Part;
use super::section::{Mutex, Section};
use super::storage::Storage;
use crate::threading::condition::Condition;
use crate::threading::lock::Lock;
use plait_core::Latch;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicUsize, Ordering};

/// Items in order, first in first out, for any number of threads; as `queue.Queue`. `put(item, block=True, timeout=None)` waits
/// while `maxsize` items are there (0 or less: never), `get(block=True, timeout=None)` while there are none. `task_done()` and
/// `join()` wait for what was put to be done; `shutdown(immediate=False)` ends the queue, on every version of Python.
#[pyclass(frozen, subclass, dict, weakref, module = "plait.queue")]
#[derive(Debug)]
pub struct Queue {
    pub(super) mutex: Mutex,
    pub(super) not_empty: Part<Condition>,
    pub(super) not_full: Part<Condition>,
    pub(super) all_tasks_done: Part<Condition>,
    pub(super) storage: Storage,
    pub(super) capacity: Capacity,
    /// Changed in a section.
    pub(super) unfinished: AtomicIsize,
    pub(super) shut: AtomicBool,
    pub(super) overridden: AtomicU8,
    /// How many items there may be for a native put to go ahead: follows from the state of the storage, the
    /// capacity and `shut`, and is worked out again (under `refreshing`) whenever one of them has changed.
    room: AtomicUsize,
    refreshing: Latch<()>,
    /// True. On 3.11 and 3.12 an instance dict is made, and the collector may run, when the object is known to the
    /// collector and still all zeros: then it is false, and nothing else here may be looked at.
    pub(super) built: bool,
}

impl Queue {
    pub(super) fn make(py: Python<'_>, kind: Kind) -> PyResult<Self> {
        let mutex = Bound::new(py, Lock::default())?;
        let condition = || Ok::<_, PyErr>(Part::new(Bound::new(py, Condition::over(mutex.as_any()))?));
        Ok(Self {
            not_empty: condition()?,
            not_full: condition()?,
            all_tasks_done: condition()?,
            mutex: Mutex::new(mutex),
            storage: Storage::new(kind),
            capacity: Capacity::new(0_u8.into_pyobject(py)?.into_any()),
            unfinished: AtomicIsize::new(0),
            shut: AtomicBool::new(false),
            overridden: AtomicU8::new(0),
            room: AtomicUsize::new(if kind == Kind::Priority { 0 } else { usize::MAX }),
            refreshing: Latch::new(()),
            built: true,
        })
    }

    /// Which methods are not ours.
    #[inline]
    pub(super) fn overridden(&self) -> Hooks {
        Hooks(self.overridden.load(Ordering::Relaxed))
    }

    /// How many items there may be for a native put to go ahead.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Works out [`room`](Self::room).
    pub(super) fn refresh(&self) {
        let refreshing = self.refreshing.lock();
        let room = if self.storage.is_native() && !self.is_shut() {
            self.capacity.most()
        } else {
            0
        };
        self.room.store(room, Ordering::Relaxed);
        drop(refreshing);
    }

    /// Whether it has been shut down.
    #[inline]
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    pub(super) fn set_shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
        self.refresh();
    }

    /// Keeps native sections out for as long as the storage is native: with a GIL they are out anyway.
    pub(super) fn exclude(&self, py: Python<'_>) -> PyResult<Option<Section<'_>>> {
        if cfg!(Py_GIL_DISABLED) && self.storage.is_native() {
            Section::unless_mine(py, &self.mutex)
        } else {
            Ok(None)
        }
    }

    /// The Python object with the items, which holds them from now on.
    pub(super) fn show<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        while this.storage.is_native() {
            let target = Storage::fresh(py, this.storage.kind())?;
            let section = this.exclude(py)?;
            if this.storage.is_native() {
                let replaced = this.storage.move_into(&target)?;
                this.refresh();
                drop(section);
                drop(replaced);
            }
        }
        this.storage.object(slf)
    }

    /// From now on `object` holds the items.
    pub(super) fn set_object(&self, py: Python<'_>, object: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let section = self.exclude(py)?;
        let replaced = self.storage.set(object);
        self.refresh();
        drop(section);
        drop(replaced);
        Ok(())
    }

    /// What `_init` of the class of `kind` does: no items.
    pub(super) fn start(slf: &Bound<'_, Self>, kind: Kind) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        if kind != this.storage.kind() || kind == Kind::Priority || this.overridden().has(Hooks::STORAGE) {
            return this.set_object(py, Some(Storage::fresh(py, kind)?));
        }
        let section = this.exclude(py)?;
        let replaced = this.storage.reset();
        this.refresh();
        drop(section);
        drop(replaced);
        Ok(())
    }

    /// `_put` of the class of `kind`.
    pub(super) fn push_item(slf: &Bound<'_, Self>, kind: Kind, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let _section = slf.get().exclude(slf.py())?;
        slf.get().storage.push(slf, kind, item)
    }

    /// `_get` of the class of `kind`.
    pub(super) fn pop_item<'py>(slf: &Bound<'py, Self>, kind: Kind) -> PyResult<Bound<'py, PyAny>> {
        let _section = slf.get().exclude(slf.py())?;
        slf.get().storage.pop(slf, kind)
    }

    /// `_qsize`.
    pub(super) fn count_items(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let _section = slf.get().exclude(slf.py())?;
        slf.get().storage.len(slf)
    }

    pub(super) fn override_hooks(slf: &Bound<'_, Self>, hooks: Hooks) -> PyResult<()> {
        slf.get().overridden.store(hooks.0, Ordering::Relaxed);
        if hooks.has(Hooks::STORAGE) {
            Self::show(slf)?;
        }
        Ok(())
    }
}
