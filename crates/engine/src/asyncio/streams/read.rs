//! The coroutines of a reader: `read`, `readline`, `readuntil`, `readexactly`, `async for`.
//!
//! Each looks whether what it wants is there; if so it returns it at its first step and nothing is suspended. Else it waits on the
//! reader's `_waiter`, and looks again.

use super::reader::StreamReaderCore;
use super::separators::{Separators, position};
use crate::asyncio::await_::{Machine, Resume, Step};
use crate::held::Held;
use pyo3::exceptions::{PyStopAsyncIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};

/// What is wanted. Small, so that the whole read fits into its await.
#[derive(Debug)]
pub enum Want {
    /// At most so many bytes.
    Some(usize),
    /// All until the end; what came so far.
    All(Box<Vec<u8>>),
    Line,
    /// A line, without the rules of `readline` for what is no line.
    Newline,
    /// What `readuntil` was given.
    Until(Held),
    /// The same, looked at.
    Separated(Box<Separators>),
    Exactly(isize),
    /// A line, or the end of `async for`.
    Next,
    /// Anything; on behalf of this method.
    More(Box<String>),
}

impl Want {
    /// Whether `readline` has rules for what is no line.
    const fn is_line(&self) -> bool {
        matches!(self, Self::Line | Self::Next)
    }
}

/// A read under way.
#[derive(Debug)]
pub struct Read {
    reader: Held,
    want: Want,
    /// No match begins before this.
    offset: usize,
    /// The reader's `_waiter` is ours.
    waiting: bool,
    /// The exception of the reader has been looked at: this is done once.
    checked: bool,
}

/// What a look at the buffer comes to.
enum Look {
    Found(Step),
    Wait(&'static str),
}

/// An exception of `asyncio.exceptions`.
fn exception(
    py: Python<'_>,
    place: &'static PyOnceLock<Py<PyType>>,
    name: &str,
    arguments: impl pyo3::PyErrArguments + 'static,
) -> PyErr {
    match place.import(py, "asyncio.exceptions", name) {
        Ok(class) => PyErr::from_type(class.clone(), arguments),
        Err(error) => error,
    }
}

fn incomplete(py: Python<'_>, partial: Bound<'_, PyBytes>, expected: Option<usize>) -> PyErr {
    static PLACE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    exception(py, &PLACE, "IncompleteReadError", (partial.unbind(), expected))
}

fn overrun(py: Python<'_>, text: &'static str, consumed: usize) -> PyErr {
    static PLACE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    exception(py, &PLACE, "LimitOverrunError", (text, consumed))
}

/// Why no match was returned.
enum Missing {
    /// The end came.
    End,
    /// The limit was passed: where, and whether there is a match.
    Overrun(usize, bool),
}

impl Read {
    /// Of `reader`, which is not looked at before the first step.
    pub fn new(reader: &Bound<'_, StreamReaderCore>, want: Want) -> Self {
        Self {
            reader: reader.clone().into_any().into(),
            want,
            offset: 0,
            waiting: false,
            checked: false,
        }
    }

    /// Up to the separator. `None`: wait for more.
    fn until(
        &mut self,
        py: Python<'_>,
        reader: &StreamReaderCore,
    ) -> PyResult<Option<Result<Py<PyAny>, Missing>>> {
        if let Want::Until(separator) = &self.want {
            self.want = Want::Separated(Box::new(Separators::of(&separator.bind(py))?));
        }
        let separators = match &self.want {
            Want::Separated(separators) => Some(&**separators),
            _ => None,
        };
        if !std::mem::replace(&mut self.checked, true) {
            reader.check(py)?;
        }
        let state = reader.state.lock();
        let unread = state.buffer.unread();
        let mut found = None;
        let mut over = None;
        if unread.len() >= self.offset + separators.map_or(1, Separators::least) {
            found = match separators {
                Some(separators) => separators.find(unread, self.offset),
                None => position(unread, b"\n", self.offset).map(|start| (start, start + 1)),
            };
            if found.is_none() {
                let most = separators.map_or(1, Separators::most);
                self.offset = (unread.len() + 1).saturating_sub(most);
                over = (self.offset > state.limit).then_some(self.offset);
            }
        }
        let (eof, limit) = (state.eof, state.limit);
        drop(state);
        Ok(match (found, over) {
            (Some((start, _)), _) if start > limit => Some(Err(Missing::Overrun(start, true))),
            (Some((_, end)), _) => {
                let taken = reader.take(py, end)?;
                reader.maybe_resume(py)?;
                Some(Ok(taken.into_any().unbind()))
            }
            (None, Some(offset)) => Some(Err(Missing::Overrun(offset, false))),
            (None, None) if eof => Some(Err(Missing::End)),
            (None, None) => None,
        })
    }

    /// All that is there.
    fn rest<'py>(py: Python<'py>, reader: &StreamReaderCore) -> PyResult<Bound<'py, PyBytes>> {
        let length = reader.state.lock().buffer.len();
        reader.take(py, length)
    }

    fn look_until(&mut self, py: Python<'_>, reader: &StreamReaderCore) -> PyResult<Look> {
        let line = match self.until(py, reader)? {
            None => return Ok(Look::Wait("readuntil")),
            Some(Ok(line)) => return Ok(Look::Found(Step::Return(line))),
            Some(Err(Missing::End)) => {
                let rest = Self::rest(py, reader)?;
                if !self.want.is_line() {
                    return Err(incomplete(py, rest, None));
                }
                rest
            }
            Some(Err(Missing::Overrun(consumed, found))) => {
                let text = if found {
                    "Separator is found, but chunk is longer than limit"
                } else {
                    "Separator is not found, and chunk exceed the limit"
                };
                let error = overrun(py, text, consumed);
                if !self.want.is_line() {
                    return Err(error);
                }
                let state = reader.state.lock();
                let unread = state.buffer.unread();
                let drop_now = match unread.get(consumed) {
                    Some(b'\n') => consumed + 1,
                    _ => unread.len(),
                };
                drop(state);
                reader.discard(py, drop_now)?;
                reader.maybe_resume(py)?;
                let refused = PyValueError::new_err(text);
                refused.value(py).setattr("__context__", error)?;
                return Err(refused);
            }
        };
        if matches!(self.want, Want::Next) && line.as_bytes().is_empty() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        Ok(Look::Found(Step::Return(line.into_any().unbind())))
    }

    /// Looks whether it is there; `again` if it has waited.
    fn look(&mut self, py: Python<'_>, reader: &StreamReaderCore, again: bool) -> PyResult<Look> {
        if let Want::Exactly(wanted) = self.want
            && wanted < 0
        {
            return Err(PyValueError::new_err(
                "readexactly size can not be less than zero",
            ));
        }
        match &mut self.want {
            Want::Line | Want::Newline | Want::Until(_) | Want::Separated(_) | Want::Next => {
                return self.look_until(py, reader);
            }
            Want::More(_) if again => return Ok(Look::Found(Step::ReturnNone)),
            Want::More(_) => return Ok(Look::Wait("")),
            Want::Some(_) | Want::All(_) | Want::Exactly(_) => {}
        }
        if !std::mem::replace(&mut self.checked, true) {
            reader.check(py)?;
        }
        let state = reader.state.lock();
        let (there, eof) = (state.buffer.len(), state.eof);
        drop(state);
        let taken = match &mut self.want {
            Want::Some(0) | Want::Exactly(0) => PyBytes::new(py, &[]),
            Want::Some(_) if there == 0 && !eof && !again => return Ok(Look::Wait("read")),
            Want::Some(most) => {
                let taken = reader.take(py, there.min(*most))?;
                reader.maybe_resume(py)?;
                taken
            }
            Want::All(so_far) => {
                // A piece at a time, so that a paused transport goes on, and an error is seen.
                if there > 0 {
                    let piece = reader.take(py, there)?;
                    reader.maybe_resume(py)?;
                    if eof && so_far.is_empty() {
                        return Ok(Look::Found(Step::Return(piece.into_any().unbind())));
                    }
                    so_far.extend_from_slice(piece.as_bytes());
                }
                self.checked = false;
                if !eof {
                    return Ok(Look::Wait("read"));
                }
                reader.check(py)?;
                PyBytes::new(py, so_far)
            }
            Want::Exactly(wanted) => {
                let wanted = wanted.unsigned_abs();
                if there < wanted && eof {
                    return Err(incomplete(py, reader.take(py, there)?, Some(wanted)));
                }
                if there < wanted {
                    return Ok(Look::Wait("readexactly"));
                }
                let taken = reader.take(py, wanted)?;
                reader.maybe_resume(py)?;
                taken
            }
            _ => return Ok(Look::Found(Step::ReturnNone)),
        };
        Ok(Look::Found(Step::Return(taken.into_any().unbind())))
    }
}

impl Machine for Read {
    const NAME: &'static str = "StreamReader.read";

    fn step(&mut self, py: Python<'_>, resume: Resume) -> PyResult<Step> {
        let reader = self.reader.clone_ref(py).into_bound(py);
        // SAFETY: it was made of a reader.
        let reader = unsafe { reader.cast_unchecked::<StreamReaderCore>() }.get();
        let again = std::mem::take(&mut self.waiting);
        if again {
            reader.forget_waiter();
        }
        if let Resume::Throw(error) = resume {
            return Err(error);
        }
        match self.look(py, reader, again)? {
            Look::Found(step) => Ok(step),
            Look::Wait(caller) => {
                let caller = match &self.want {
                    Want::More(caller) => caller,
                    _ => caller,
                };
                let waiter = reader.wait_for_data(py, caller)?;
                self.waiting = true;
                Ok(Step::Wait(waiter.unbind()))
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.reader.traverse(visit)?;
        match &self.want {
            Want::Until(separator) => separator.traverse(visit),
            _ => Ok(()),
        }
    }
}
