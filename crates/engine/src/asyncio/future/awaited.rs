//! Who waits for a future, for 3.14's call graphs.
//!
//! A task that awaits is among the observers, and so is what gathers, groups or shields for one. Others say so: they are kept in
//! a set.

use super::{Future, Observer};
use crate::asyncio::group::graph;
use crate::asyncio::task::Task;
use crate::held::Held;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PySet;

/// Who waits for `future`: a set, or None if it is nobody.
pub(super) fn by<'py>(future: &Future, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let state = future.state.lock();
    let observers = state.first.iter().chain(&state.rest);
    let waiting: Vec<_> = observers
        .filter_map(|observer| match observer {
            Observer::Task(task) => Some(task.clone_ref(py).into_any()),
            Observer::Native { object, .. } => Some(object.clone_ref(py)),
            Observer::Python { .. } => None,
        })
        .collect();
    let others = state.rare.as_ref().and_then(|rare| rare.awaited_by.as_ref());
    let others = others.map(|others| others.share(py));
    drop(state);
    let all = PySet::empty(py)?;
    for waiting in waiting {
        let waiting = waiting.into_bound(py);
        if waiting.is_instance_of::<Task>() {
            all.add(waiting)?;
        } else if let Some(waiter) = graph::waiter(&waiting) {
            all.add(waiter)?;
        }
    }
    if let Some(others) = others {
        all.call_method1(intern!(py, "update"), (others,))?;
    }
    Ok((!all.is_empty()).then(|| all.into_any()))
}

fn native<'a, 'py>(future: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, Future>> {
    future.cast::<Future>().ok()
}

/// Says that `waiter` waits for `fut`; as `asyncio.future_add_to_awaited_by`.
#[pyfunction]
#[pyo3(signature = (fut, waiter, /))]
pub fn future_add_to_awaited_by(fut: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = fut.py();
    let Some(future) = native(fut) else {
        let stdlib = super::stdlib!(py, "_asyncio", "future_add_to_awaited_by")?;
        return stdlib.call1((fut, waiter)).map(drop);
    };
    let known = |future: &Future| {
        let state = future.state.lock();
        let set = state.rare.as_ref()?.awaited_by.as_ref()?;
        Some(set.share(py))
    };
    let set = match known(future.get()) {
        Some(set) => set.into_bound(py),
        None => {
            let set = PySet::empty(py)?.into_any();
            let mut state = future.get().state.lock();
            let old = state
                .rare
                .get_or_insert_default()
                .awaited_by
                .replace(Held::from(set.clone()));
            drop(state);
            drop(old);
            set
        }
    };
    set.cast_into::<PySet>()?.add(waiter)
}

/// Takes that back; as `asyncio.future_discard_from_awaited_by`.
#[pyfunction]
#[pyo3(signature = (fut, waiter, /))]
pub fn future_discard_from_awaited_by(fut: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = fut.py();
    let Some(future) = native(fut) else {
        let stdlib = super::stdlib!(py, "_asyncio", "future_discard_from_awaited_by")?;
        return stdlib.call1((fut, waiter)).map(drop);
    };
    let state = future.get().state.lock();
    let set = state.rare.as_ref().and_then(|rare| rare.awaited_by.as_ref());
    let set = set.map(|set| set.share(py));
    drop(state);
    if let Some(set) = set {
        set.into_bound(py).cast_into::<PySet>()?.discard(waiter)?;
    }
    Ok(())
}
