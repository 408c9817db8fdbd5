//! A call as the record that it travels in.
//!
//! Arguments that are simple values go by the codec. Others are pickled, here and now: what cannot be pickled is known at
//! once, and what the caller changes afterwards does not change the call.

use crate::process::codec::{self, Told, Walk};
use crate::process::driver::Driver;
use crate::process::driver::functions::{self, Found};
use crate::process::driver::job::Body;
use crate::process::protocol::{LONGEST, NO_FUNCTION, form};
use crate::process::{extent, pickled};
use plait_ring::Offer;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::cell::RefCell;

/// What of a call goes into its record.
#[derive(Debug)]
pub struct Encoded {
    pub function: u32,
    pub form: u8,
    pub body: Body,
    /// Where the arguments lie, if that is a segment.
    pub offer: Option<Offer>,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The arguments of a call, if all are simple.
///
/// # Safety
/// The arguments are those of a vectorcall; attached.
#[inline]
pub unsafe fn simple(
    py: Python<'_>,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> Option<Body> {
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.try_borrow_mut().ok()?;
        scratch.clear();
        // SAFETY: the caller's promise.
        let simple =
            unsafe { codec::encode_call(py, args, positional, names, &mut scratch, &mut Walk::default()) };
        simple.then(|| Body::from_slice(&scratch))
    })
}

/// Encodes a call whose callable has to be looked at; `body` are the arguments, if all are simple.
///
/// # Errors
/// What pickling raises.
///
/// # Safety
/// As [`simple`]; the callable is alive.
pub unsafe fn call(
    py: Python<'_>,
    driver: &Driver,
    callable: *mut PyObject,
    body: Option<Body>,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> PyResult<Encoded> {
    if let Some(body) = body {
        // SAFETY: alive, as the caller's.
        let callable = unsafe { Bound::from_borrowed_ptr(py, callable) };
        if let Some(function) = number(driver, &callable)? {
            return Ok(Encoded {
                function,
                form: form::SIMPLE,
                body,
                offer: None,
            });
        }
    }
    // SAFETY: the caller's promise.
    unsafe { not_simple(py, driver, callable, args, positional, names) }
}

/// The number of a callable, which is given one if it may have one.
fn number(driver: &Driver, callable: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    let Some(holds) = functions::holds(callable)? else {
        return Ok(None);
    };
    let known = driver
        .inside
        .lock()
        .functions
        .find_with(callable.as_ptr(), &holds);
    drop(holds);
    if known.is_some() {
        return Ok(known);
    }
    let Some(ready) = functions::prepare(callable, driver.by_value)? else {
        return Ok(None);
    };
    Ok(Some(driver.enter_function(ready)))
}

#[cold]
unsafe fn not_simple(
    py: Python<'_>,
    driver: &Driver,
    callable: *mut PyObject,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> PyResult<Encoded> {
    let found = driver.inside.lock().functions.find(callable);
    let number = match found {
        Found::Number(number) => Some(number),
        // SAFETY: alive, as the caller's.
        Found::Unknown => number(driver, &unsafe { Bound::from_borrowed_ptr(py, callable) })?,
    };
    let mut told = Told::default();
    if let Some(number) = number {
        // SAFETY: the caller's promise.
        let encoded = unsafe { with_care(py, driver, number, args, positional, names) };
        match encoded {
            Ok(Err(said)) => told = said,
            Ok(Ok(encoded)) => return Ok(encoded),
            Err(error) => {
                driver.inside.lock().functions.leave(number);
                return Err(error);
            }
        }
    }
    // SAFETY: the caller's promise: a vectorcall's.
    let (callable, all, names) = unsafe {
        let names = Bound::from_borrowed_ptr_or_opt(py, names)
            .map(Bound::cast_into::<PyTuple>)
            .transpose()?;
        let total = positional + names.as_ref().map_or(0, |names| names.len());
        let all: Vec<_> = (0..total)
            .map(|i| Bound::from_borrowed_ptr(py, *args.add(i)))
            .collect();
        (Bound::from_borrowed_ptr(py, callable), all, names)
    };
    let kwargs = match names {
        None => None,
        Some(names) => {
            let kwargs = PyDict::new(py);
            for (name, value) in names.iter().zip(&all[positional..]) {
                kwargs.set_item(name, value)?;
            }
            Some(kwargs)
        }
    };
    let mut parts = Vec::with_capacity(positional + 1);
    if number.is_none() {
        parts.push(&callable);
    }
    parts.extend(&all[..positional]);
    let args = PyTuple::new(py, parts)?;
    let encoded = dumps(py, driver, &(args, kwargs).into_pyobject(py)?, told);
    match encoded {
        Ok((body, offer)) => Ok(Encoded {
            function: number.unwrap_or(NO_FUNCTION),
            form: if offer.is_some() {
                form::SEGMENT
            } else {
                form::PICKLE
            },
            body,
            offer,
        }),
        Err(error) => {
            if let Some(number) = number {
                driver.inside.lock().functions.leave(number);
            }
            Err(error)
        }
    }
}

/// A call whose arguments are simple but for what the program has to say about some, and for large arrays, which lie beside. Else
/// what was said.
///
/// # Safety
/// As [`simple`].
unsafe fn with_care(
    py: Python<'_>,
    driver: &Driver,
    function: u32,
    args: *const *mut PyObject,
    positional: usize,
    names: *mut PyObject,
) -> PyResult<Result<Encoded, Told>> {
    let mut bytes = Vec::new();
    let mut walk = Walk::beside();
    // SAFETY: the caller's promise.
    if !unsafe { codec::encode_call(py, args, positional, names, &mut bytes, &mut walk) } {
        return Ok(Err(walk.into_told()));
    }
    let arrays = walk.into_beside();
    if arrays.is_empty() {
        return Ok(Ok(Encoded {
            function,
            form: form::SIMPLE,
            body: Body::from_vec(bytes),
            offer: None,
        }));
    }
    let mut body = Vec::new();
    let offer = extent::pack_simple(py, &driver.arena, &bytes, &arrays, &mut body)?;
    Ok(Ok(Encoded {
        function,
        form: form::SEGMENT,
        body: Body::from_vec(body),
        offer: Some(offer),
    }))
}

/// A value, pickled; in a segment, if it is large.
///
/// # Errors
/// What pickling raises; `MemoryError`.
fn dumps(
    py: Python<'_>,
    driver: &Driver,
    value: &Bound<'_, PyTuple>,
    told: Told,
) -> PyResult<(Body, Option<Offer>)> {
    if let Some(data) = pickled::dumps_plain(value)?
        && data.as_bytes().len() <= LONGEST
    {
        return Ok((Body::from_slice(data.as_bytes()), None));
    }
    let (data, buffers) = pickled::dumps(value, driver.by_value, told)?;
    let bytes = data.as_bytes();
    if bytes.len() <= LONGEST && buffers.is_empty() {
        return Ok((Body::from_slice(bytes), None));
    }
    let mut body = Vec::new();
    let offer = extent::pack(py, &driver.arena, bytes, buffers.iter(), &mut body)?;
    Ok((Body::from_vec(body), Some(offer)))
}
