//! `Block`: memory that processes of a family share, as a buffer. Values, arrays and numpy's arrays lie in such.
//!
//! A process has it by fork, or by its descriptor. While a pickle of it is on its way to a process that is not just being
//! started, its sender has to keep the descriptor open for the receiver to find: the first page counts the pickles sent
//! and received, so that the sender knows when it may let go.

use plait_ring::Page;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the bytes begin: the first page is ours.
const BYTES_AT: usize = 4096;

/// What lies on the first page.
#[derive(Debug)]
#[repr(C)]
struct Head {
    sent: AtomicU64,
    received: AtomicU64,
}

/// Memory without a name that processes of a family share: a buffer that can be written to.
///
/// size: in bytes, zeroed at first. Raises ValueError for a negative one, MemoryError where there is not so much.
#[pyclass(frozen, weakref, module = "plait._engine")]
#[derive(Debug)]
pub struct Block {
    page: Page,
}

impl Block {
    fn head(&self) -> &Head {
        // SAFETY: a page is longer than the head, begins at a multiple of 4096, and any bytes are a head.
        unsafe { self.page.ptr().cast::<Head>().as_ref() }
    }

    fn length(&self) -> usize {
        self.page.len() - BYTES_AT
    }

    fn bytes(&self) -> *mut u8 {
        self.page.ptr().as_ptr().wrapping_add(BYTES_AT)
    }
}

fn raised(error: &Error, size: usize) -> PyErr {
    let short = [libc::ENOMEM, libc::ENOSPC, libc::EFBIG].map(Some);
    if short.contains(&error.raw_os_error()) {
        return PyMemoryError::new_err(format!("no shared memory for {size} bytes: {error}"));
    }
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, error.to_string())),
        None => PyValueError::new_err(error.to_string()),
    }
}

#[pymethods]
impl Block {
    #[new]
    fn new(py: Python<'_>, size: isize) -> PyResult<Self> {
        let Ok(size) = usize::try_from(size) else {
            return Err(PyValueError::new_err("a negative size"));
        };
        let whole = size
            .checked_add(BYTES_AT)
            .ok_or_else(|| PyOverflowError::new_err("a size that is too large"))?;
        let page = py.detach(|| Page::new(c"plait-block", whole));
        page.map(|page| Self { page })
            .map_err(|error| raised(&error, size))
    }

    /// The block behind a descriptor, which stays the caller's. Raises OSError, and ValueError for what is no block.
    #[staticmethod]
    fn _open(descriptor: RawFd) -> PyResult<Self> {
        let file = if descriptor < 0 {
            Err(Error::from_raw_os_error(libc::EBADF))
        } else {
            // SAFETY: it is borrowed for this call; one that is not open is refused by the system.
            unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
        };
        let page = file.and_then(Page::open).and_then(|page| {
            if page.len() < BYTES_AT {
                return Err(Error::new(ErrorKind::InvalidData, "not a block of shared memory"));
            }
            Ok(page)
        });
        page.map(|page| Self { page }).map_err(|error| raised(&error, 0))
    }

    /// The descriptor, which is the block's.
    fn fileno(&self) -> RawFd {
        self.page.as_fd().as_raw_fd()
    }

    /// Where it is mapped in this process.
    #[getter]
    fn _address(&self) -> usize {
        self.bytes() as usize
    }

    fn __len__(&self) -> usize {
        self.length()
    }

    fn __repr__(&self) -> String {
        format!("<Block of {} bytes>", self.length())
    }

    /// A pickle of it goes to another process, which finds it by this one's descriptor.
    fn _send(&self) {
        self.head().sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a pickle has arrived here.
    fn _receive(&self) {
        self.head().received.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a pickle of it is on its way.
    fn _is_awaited(&self) -> bool {
        let head = self.head();
        head.received.load(Ordering::Relaxed) < head.sent.load(Ordering::Relaxed)
    }

    /// # Safety
    /// `view` is the interpreter's: to be filled in, or left alone.
    #[expect(clippy::cast_possible_wrap, reason = "memory is not that long")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let block = slf.get();
        // SAFETY: the view holds a reference to the block, which keeps the bytes mapped.
        let end = unsafe {
            let length = block.length() as ffi::Py_ssize_t;
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), block.bytes().cast(), length, 0, flags)
        };
        if end < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}
