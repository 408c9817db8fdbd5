//! Objects that say themselves what makes another one like them: a class, arguments for it, perhaps what is put into it, and a
//! state (`__reduce_ex__`).
//!
//! Dates, decimals, sets, deques, paths, members of enumerations, named tuples, objects with slots: where the code that says it is the
//! standard library's (`Kind::Asked`), it is asked again if what it says is not simple, and left to pickle. A program's (`Kind::Told`)
//! may count how often it is asked, or give something away: it is asked once, and what it has said is what pickle is given then. A class
//! for which that can never be told is not asked again.

use super::names::{self, Kind, Name};
use super::nested::{self, Beside, Walk};
use super::{REDUCED, Token, garbled, read};
use crate::asyncio::future::stdlib;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};
use std::sync::Arc;

/// Of pickle.
const PROTOCOL: u8 = 5;
/// The class makes it by `__new__`, without `__init__`.
const NEW: u8 = 1;
/// A state follows.
const STATE: u8 = 2;
/// Before it a list of what it is extended by.
const ITEMS: u8 = 4;
/// Before it, and after those, a list of keys and values in turn.
const PAIRS: u8 = 8;

/// What an object has said.
struct Reduced<'a, 'py> {
    flags: u8,
    name: Arc<Name>,
    /// From here on the arguments are for the class.
    first: usize,
    state: Option<Borrowed<'a, 'py, PyAny>>,
    items: Option<Bound<'py, PyList>>,
    pairs: Option<Bound<'py, PyList>>,
}

/// None: that cannot be told.
fn parts<'a, 'py>(
    said: &'a Bound<'py, PyTuple>,
    args: &Bound<'py, PyTuple>,
    kind: Kind,
) -> PyResult<Option<Reduced<'a, 'py>>> {
    let py = said.py();
    let mut more = said.iter_borrowed().skip(2);
    let mut next = || more.next().filter(|part| !part.is_none());
    let (state, items, pairs) = (next(), next(), next());
    // An iterator can be used once only, and pickle may need it.
    if next().is_some() || kind == Kind::Told && (items.is_some() || pairs.is_some()) {
        return Ok(None);
    }
    let items = items.map_or(Ok(None), |items| listed(&items))?;
    let pairs = pairs.map_or(Ok(None), |pairs| listed(&pairs))?;
    let pairs = pairs.map(|pairs| in_turn(&pairs)).transpose()?;
    let mut maker = said.get_item(0)?;
    let mut flags = if state.is_some() { STATE } else { 0 };
    flags |= if items.is_some() { ITEMS } else { 0 };
    flags |= if pairs.is_some() { PAIRS } else { 0 };
    let mut first = 0;
    if maker.is(stdlib!(py, "copyreg", "__newobj__")?) {
        maker = args.get_item(0)?;
        flags |= NEW;
        first = 1;
    }
    let Ok(class) = maker.cast::<PyType>() else {
        return Ok(None);
    };
    let class = class.as_borrowed();
    let Some(known) = names::of(&class) else {
        return Ok(None);
    };
    let name = Arc::clone(&known.name);
    Ok(name.is_of(&class).then_some(Reduced {
        flags,
        name,
        first,
        state,
        items,
        pairs,
    }))
}

/// What an iterator gives, or as much of it as shows that it is too much. (It is the standard library's, over what the object
/// holds.) None: nothing.
fn listed<'py>(items: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyList>>> {
    let all = PyList::empty(items.py());
    for item in items.try_iter()?.take(nested::VALUES + 1) {
        all.append(item?)?;
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// The keys and values of a list of pairs.
fn in_turn<'py>(pairs: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
    let all = PyList::empty(pairs.py());
    for pair in pairs {
        let (key, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair.extract()?;
        all.append(key)?;
        all.append(value)?;
    }
    Ok(all)
}

/// Appends an object of such a class. False: what it says is not simple.
pub(super) fn put(
    object: &Bound<'_, PyAny>,
    class: &Borrowed<'_, '_, PyType>,
    kind: Kind,
    to: &mut Vec<u8>,
    walk: &mut Walk,
) -> bool {
    let is_new = match kind {
        Kind::Value => walk.enter_equal(0),
        _ => walk.enter(object.as_ptr(), 1),
    };
    if !is_new {
        return false;
    }
    match said(object, kind, to, walk) {
        Ok(Some(simple)) => simple && walk.leave(),
        Ok(None) => {
            names::give_up(class);
            false
        }
        Err(error) => {
            if error.is_instance_of::<PyKeyboardInterrupt>(object.py()) {
                // It is meant for the program, whom pickle lets have it.
                // SAFETY: attached.
                unsafe { ffi::PyErr_SetInterrupt() };
            }
            drop(error);
            false
        }
    }
}

/// Whether what it said is simple; None if it cannot be told.
fn said<'py>(
    object: &Bound<'py, PyAny>,
    kind: Kind,
    to: &mut Vec<u8>,
    walk: &mut Walk,
) -> PyResult<Option<bool>> {
    let py = object.py();
    let said = object.call_method1(intern!(py, "__reduce_ex__"), (PROTOCOL,));
    let told = walk.told.as_mut().filter(|_| kind == Kind::Told);
    let said = match (said, told) {
        (Err(error), Some(told)) => {
            told.error = Some(error);
            return Ok(Some(false));
        }
        (said, None) => {
            // What is met in it is not met again as something else at the same address.
            let said = said?;
            walk.keep(&said);
            said
        }
        (Ok(said), Some(told)) => {
            told.said.push((object.clone().into(), said.clone().into()));
            said
        }
    };
    let Ok(said) = said.cast_exact::<PyTuple>() else {
        return Ok(None);
    };
    let Ok(args) = said.get_item(1)?.cast_into_exact::<PyTuple>() else {
        return Ok(None);
    };
    let Some(parts) = parts(said, &args, kind)? else {
        return Ok(None);
    };
    let Ok(length) = u16::try_from(parts.name.text.len()) else {
        return Ok(None);
    };
    let count = args.len() - parts.first;
    if !walk.count(count) {
        return Ok(Some(false));
    }
    to.push(REDUCED);
    to.push(parts.flags);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&parts.name.text);
    nested::head(super::TUPLE, count, to);
    let values = args.iter_borrowed().skip(parts.first);
    // SAFETY: attached; `said` and the lists, which the walk keeps, keep all of them alive.
    let put = |value: Borrowed<'_, 'py, PyAny>, to: &mut Vec<u8>, walk: &mut Walk| unsafe {
        super::put(value.as_ptr(), to, walk)
    };
    for value in values {
        if !put(value, to, walk) {
            return Ok(Some(false));
        }
    }
    for list in [parts.items, parts.pairs].into_iter().flatten() {
        walk.keep(&list);
        if !walk.count(list.len()) {
            return Ok(Some(false));
        }
        nested::head(super::LIST, list.len(), to);
        for value in list.iter() {
            if !put(value.as_borrowed(), to, walk) {
                return Ok(Some(false));
            }
        }
    }
    if let Some(state) = parts.state
        && !put(state, to, walk)
    {
        return Ok(Some(false));
    }
    Ok(Some(to.len() <= nested::MOST_BYTES))
}

/// What the class that `text` names makes of what `rest` begins with, and what follows it.
///
/// # Errors
/// As [`super::decode`]; what pickle raises where the class is not found; what the class raises.
pub(super) fn make<'py, 'a>(
    py: Python<'py>,
    flags: u8,
    text: &[u8],
    rest: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyAny>, &'a [u8])> {
    let class = Name::of_text(py, text)?.class(py)?;
    let Some((Token::Tuple(count), rest)) = Token::read(rest) else {
        return Err(garbled());
    };
    let (args, mut rest) = nested::make_tuple(py, count, rest, beside)?;
    // SAFETY: attached; a class, and a tuple; `__new__` is that of the class; new references, or null.
    let object = unsafe {
        let made = if flags & NEW == 0 {
            ffi::PyObject_Call(class.as_ptr(), args.as_ptr(), std::ptr::null_mut())
        } else {
            let new = (*class.as_type_ptr()).tp_new.ok_or_else(garbled)?;
            new(class.as_type_ptr(), args.as_ptr(), std::ptr::null_mut())
        };
        Bound::from_owned_ptr_or_err(py, made)?
    };
    if flags & ITEMS != 0 {
        let (items, after) = read_list(py, rest, beside)?;
        object.call_method1(intern!(py, "extend"), (items,))?;
        rest = after;
    }
    if flags & PAIRS != 0 {
        let (pairs, after) = read_list(py, rest, beside)?;
        for at in (1..pairs.len()).step_by(2) {
            object.set_item(pairs.get_item(at - 1)?, pairs.get_item(at)?)?;
        }
        rest = after;
    }
    if flags & STATE != 0 {
        let (state, after) = read(py, rest, beside)?;
        // SAFETY: a new reference, owned.
        give_state(&object, unsafe { Bound::from_owned_ptr(py, state) })?;
        rest = after;
    }
    Ok((object, rest))
}

fn read_list<'py, 'a>(
    py: Python<'py>,
    bytes: &'a [u8],
    beside: &mut Beside<'py>,
) -> PyResult<(Bound<'py, PyList>, &'a [u8])> {
    let (list, rest) = read(py, bytes, beside)?;
    // SAFETY: a new reference, owned.
    let list = unsafe { Bound::from_owned_ptr(py, list) };
    Ok((list.cast_into().map_err(|_| garbled())?, rest))
}

/// As pickle's BUILD.
fn give_state<'py>(object: &Bound<'py, PyAny>, state: Bound<'py, PyAny>) -> PyResult<()> {
    let py = object.py();
    if let Some(set) = object.getattr_opt(intern!(py, "__setstate__"))? {
        set.call1((state,))?;
        return Ok(());
    }
    let (inside, slots) = match state.cast_exact::<PyTuple>() {
        Ok(both) if both.len() == 2 => (both.get_item(0)?, both.get_item(1)?),
        _ => (state, py.None().into_bound(py)),
    };
    if !inside.is_none() {
        let dict = object.getattr(intern!(py, "__dict__"))?;
        for (name, value) in inside.cast::<PyDict>()? {
            let name = match name.cast_exact::<PyString>() {
                Ok(name) => PyString::intern(py, name.to_str()?).into_any(),
                Err(_) => name.clone(),
            };
            dict.set_item(name, value)?;
        }
    }
    if !slots.is_none() {
        for (name, value) in slots.cast::<PyDict>()? {
            object.setattr(name.cast::<PyString>()?, value)?;
        }
    }
    Ok(())
}
