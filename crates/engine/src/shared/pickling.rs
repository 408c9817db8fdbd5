//! What `multiprocessing.reduction.ForkingPickler.dumps` does, without its Python: three times as fast.
//!
//! The reducers are those of the standard library: `copyreg`'s and what was registered for multiprocessing, as they are at
//! the time of the call. Their union is kept until either changes. Containers of plain values have no use for them.

use crate::process::codec::Told;
use plait_core::Latch;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::cell::{Cell, RefCell};

/// So many values are looked at to find out whether all are plain.
const LOOKED_AT: usize = 64;
/// Of pickles with buffers beside them.
const PROTOCOL: u8 = 5;
/// A longer pickle is read where it lies.
const LONG: usize = 64 << 10;

/// Where the parts come from; looked for once.
struct Parts {
    new_file: Py<PyAny>,
    pickler: Py<PyAny>,
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    general: Py<PyDict>,
    extra: Py<PyDict>,
}

fn parts(py: Python<'_>) -> PyResult<&'static Parts> {
    static PARTS: PyOnceLock<Parts> = PyOnceLock::new();
    PARTS.get_or_try_init(py, || {
        let pickle = py.import("pickle")?;
        let reduction = py
            .import("multiprocessing.reduction")?
            .getattr("ForkingPickler")?;
        Ok(Parts {
            new_file: py.import("io")?.getattr("BytesIO")?.unbind(),
            pickler: pickle.getattr("Pickler")?.unbind(),
            dumps: pickle.getattr("dumps")?.unbind(),
            loads: pickle.getattr("loads")?.unbind(),
            general: py
                .import("copyreg")?
                .getattr("dispatch_table")?
                .cast_into()?
                .unbind(),
            extra: reduction.getattr("_extra_reducers")?.cast_into()?.unbind(),
        })
    })
}

impl Parts {
    /// A pickler with these options, that does not ask what has been told.
    fn pickler<'py>(
        &self,
        py: Python<'py>,
        options: &[Bound<'py, PyAny>],
        told: Told,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(error) = told.error {
            return Err(error);
        }
        if told.said.is_empty() {
            return self.pickler.bind(py).call1(PyTuple::new(py, options)?);
        }
        static TELLING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let by_id = PyDict::new(py);
        for (object, said) in &told.said {
            by_id.set_item(object.as_ptr() as usize, (object.bind(py), said.bind(py)))?;
        }
        let mut all = vec![by_id.as_any()];
        all.extend(options);
        TELLING
            .import(py, "plait._processes.pickling", "Telling")?
            .call1(PyTuple::new(py, all)?)
    }
}

/// The two tables in one, and what stood in them when it was made.
struct Union {
    table: Py<PyDict>,
    /// Addresses of keys and values. The table keeps the objects alive, so none of the addresses can be another's by now.
    seen: Vec<(usize, usize)>,
}

impl Union {
    fn make(general: &Bound<'_, PyDict>, extra: &Bound<'_, PyDict>) -> PyResult<Self> {
        // The table last: what it holds then is at least what is seen. What of `general` is hidden by `extra` is kept by
        // nobody, so such a union is never found to hold.
        let table = general.copy()?;
        table.update(extra.as_mapping())?;
        let hidden = table.len() != general.len() + extra.len();
        Ok(Self {
            seen: if hidden {
                Vec::new()
            } else {
                entries(general, extra)?
            },
            table: table.unbind(),
        })
    }

    fn holds(&self, general: &Bound<'_, PyDict>, extra: &Bound<'_, PyDict>) -> bool {
        self.seen.len() == general.len() + extra.len()
            && entries(general, extra).is_ok_and(|entries| entries == self.seen)
    }
}

fn entries(general: &Bound<'_, PyDict>, extra: &Bound<'_, PyDict>) -> PyResult<Vec<(usize, usize)>> {
    let entries = RefCell::new(Vec::with_capacity(general.len() + extra.len()));
    for table in [general, extra] {
        table.locked_for_each(|key, value| {
            let entry = (key.as_ptr() as usize, value.as_ptr() as usize);
            entries.borrow_mut().push(entry);
            Ok(())
        })?;
    }
    Ok(entries.into_inner())
}

/// Whether the program has registered how to pickle objects of `class`.
///
/// # Errors
/// What importing `multiprocessing.reduction` raises.
pub fn has_reducer(class: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = class.py();
    let parts = parts(py)?;
    Ok(parts.general.bind(py).contains(class)? || parts.extra.bind(py).contains(class)?)
}

/// The reducers, as they are now.
fn reducers<'py>(py: Python<'py>, parts: &Parts) -> PyResult<Bound<'py, PyDict>> {
    // Taken out while it is looked at, so that nothing of Python happens under the lock.
    static KEPT: Latch<Option<Union>> = Latch::new(None);
    let (general, extra) = (parts.general.bind(py), parts.extra.bind(py));
    let kept = KEPT.lock().take();
    let union = match kept {
        Some(union) if union.holds(general, extra) => union,
        _ => Union::make(general, extra)?,
    };
    let table = union.table.bind(py).clone();
    let other = KEPT.lock().replace(union);
    drop(other);
    Ok(table)
}

/// Whether `object` consists of values that no reducer is asked about. False if that would take long to find out.
pub fn is_plain(object: &Bound<'_, PyAny>, left: &Cell<usize>) -> bool {
    if left.get() == 0 {
        return false;
    }
    left.set(left.get() - 1);
    if object.is_none()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBytes>()
        || object.is_exact_instance_of::<PyBool>()
    {
        return true;
    }
    if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        return tuple.iter_borrowed().all(|item| is_plain(&item, left));
    }
    if let Ok(list) = object.cast_exact::<PyList>() {
        return list.iter().all(|item| is_plain(&item, left));
    }
    if let Ok(dict) = object.cast_exact::<PyDict>() {
        // An error ends the loop, and costs nothing where it is made of nothing.
        let plain = dict.locked_for_each(|key, value| {
            if is_plain(&key, left) && is_plain(&value, left) {
                Ok(())
            } else {
                Err(PyTypeError::new_err(()))
            }
        });
        return plain.is_ok();
    }
    false
}

/// The pickle of `object`; what has been `told` is not asked again.
///
/// # Errors
/// What pickling raises.
pub fn dumps<'py>(object: &Bound<'py, PyAny>, told: Told) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    let parts = parts(py)?;
    if is_plain(object, &Cell::new(LOOKED_AT)) {
        return Ok(parts.dumps.bind(py).call1((object,))?.cast_into()?);
    }
    let file = parts.new_file.bind(py).call0()?;
    let pickler = parts.pickler(py, std::slice::from_ref(&file), told)?;
    dump_with(object, parts, &file, &pickler)
}

fn dump_with<'py>(
    object: &Bound<'py, PyAny>,
    parts: &Parts,
    file: &Bound<'py, PyAny>,
    pickler: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    pickler.setattr(intern!(py, "dispatch_table"), reducers(py, parts)?)?;
    pickler.call_method1(intern!(py, "dump"), (object,))?;
    Ok(file.call_method0(intern!(py, "getvalue"))?.cast_into()?)
}

/// As [`dumps`], by protocol 5, with `beside(buffer) -> bool` asked for each buffer whether it stays in the pickle.
///
/// # Errors
/// What pickling raises.
pub fn dumps_beside<'py>(
    object: &Bound<'py, PyAny>,
    beside: &Bound<'py, PyAny>,
    told: Told,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    let parts = parts(py)?;
    let file = parts.new_file.bind(py).call0()?;
    // Protocol, fix_imports, buffer_callback.
    let (protocol, imports) = (PROTOCOL.into_pyobject(py)?, PyBool::new(py, true).to_owned());
    let options = [
        file.clone(),
        protocol.into_any(),
        imports.into_any(),
        beside.clone(),
    ];
    let pickler = parts.pickler(py, &options, told)?;
    dump_with(object, parts, &file, &pickler)
}

/// The object whose pickle lies in `bytes`.
///
/// # Errors
/// What unpickling raises.
pub fn loads<'py>(py: Python<'py>, bytes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    parts(py)?.loads.bind(py).call1((bytes,))
}

/// The object whose pickle stands behind the first byte. What is long is not copied once more; `buffer` may be empty afterwards.
///
/// # Errors
/// As [`loads`].
pub fn loads_behind_tag<'py>(py: Python<'py>, buffer: &mut Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
    let pickle = buffer.get(1..).unwrap_or_default();
    if pickle.len() <= LONG {
        return loads(py, PyBytes::new(py, pickle).as_any());
    }
    // SAFETY: the bytes outlive the view: if it cannot be released, they are leaked.
    let view = unsafe {
        let length = ffi::Py_ssize_t::try_from(pickle.len())?;
        let view = ffi::PyMemoryView_FromMemory(pickle.as_ptr().cast_mut().cast(), length, ffi::PyBUF_READ);
        Bound::from_owned_ptr_or_err(py, view)?
    };
    let result = loads(py, &view);
    if view.call_method0(intern!(py, "release")).is_err() {
        std::mem::forget(std::mem::take(buffer));
    }
    result
}
