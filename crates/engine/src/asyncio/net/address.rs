//! Addresses of sockets, between the kernel's form and Python's: the families that matter natively, the rest by the socket object.

use libc::{c_int, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, socklen_t};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use std::ffi::{CStr, c_char, c_void};
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address as the kernel has it.
#[derive(Clone, Copy)]
pub struct Address {
    pub storage: sockaddr_storage,
    pub length: socklen_t,
}

impl Address {
    /// Room for any.
    pub fn room() -> Self {
        Self {
            // SAFETY: all zeros is a valid storage.
            storage: unsafe { std::mem::zeroed() },
            length: size_of::<sockaddr_storage>() as socklen_t,
        }
    }

    /// For system calls.
    pub fn as_ptr(&self) -> *const sockaddr {
        (&raw const self.storage).cast()
    }

    fn from<T: Copy>(value: T) -> Self {
        let mut address = Self::room();
        address.length = size_of::<T>() as socklen_t;
        // SAFETY: a storage has room for each kind of address, and their alignment.
        unsafe { (&raw mut address.storage).cast::<T>().write(value) };
        address
    }

    /// A Python address of a socket of `family`. None if that takes more than looking at it: a name that is to be resolved, a
    /// family that is not known here, an error that the socket object tells better.
    pub fn parse(family: c_int, address: &Bound<'_, PyAny>) -> Option<Self> {
        let parts = address.cast_exact::<PyTuple>().ok()?;
        let host = parts.get_borrowed_item(0).ok()?;
        let host = host.cast_exact::<PyString>().ok()?;
        let host = host.to_str().ok()?;
        let port: u16 = parts.get_borrowed_item(1).ok()?.extract().ok()?;
        match (family, parts.len()) {
            (libc::AF_INET, 2) => {
                let host: Ipv4Addr = host.parse().ok()?;
                // SAFETY: all zeros is a valid address.
                let mut inner: sockaddr_in = unsafe { std::mem::zeroed() };
                inner.sin_family = libc::AF_INET as _;
                inner.sin_port = port.to_be();
                inner.sin_addr.s_addr = u32::from(host).to_be();
                Some(Self::from(inner))
            }
            (libc::AF_INET6, 2..=4) => {
                let host: Ipv6Addr = host.parse().ok()?;
                let number = |at| match parts.get_borrowed_item(at) {
                    Ok(number) => number.extract::<u32>().ok(),
                    Err(_) => Some(0),
                };
                // SAFETY: all zeros is a valid address.
                let mut inner: sockaddr_in6 = unsafe { std::mem::zeroed() };
                inner.sin6_family = libc::AF_INET6 as _;
                inner.sin6_port = port.to_be();
                inner.sin6_addr.s6_addr = host.octets();
                inner.sin6_flowinfo = number(2).filter(|flow| *flow < 1 << 20)?.to_be();
                inner.sin6_scope_id = number(3)?;
                Some(Self::from(inner))
            }
            _ => None,
        }
    }

    /// Whether addresses of this family are known here. Those of others are left to the socket object.
    pub const fn is_known(family: c_int) -> bool {
        matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
    }

    /// As the methods of a socket object give it; None if there is none.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let place = &raw const self.storage;
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET if self.length > 0 => {
                // SAFETY: the family says which it is.
                let inner = unsafe { &*place.cast::<sockaddr_in>() };
                let host = Ipv4Addr::from(u32::from_be(inner.sin_addr.s_addr)).to_string();
                let address = (host, u16::from_be(inner.sin_port)).into_pyobject(py)?;
                Ok(address.into_any())
            }
            libc::AF_INET6 if self.length > 0 => {
                // SAFETY: as above.
                let inner = unsafe { &*place.cast::<sockaddr_in6>() };
                let host = text(inner);
                let flow = u32::from_be(inner.sin6_flowinfo);
                let address = (host, u16::from_be(inner.sin6_port), flow, inner.sin6_scope_id);
                Ok(address.into_pyobject(py)?.into_any())
            }
            libc::AF_UNIX if self.length > 0 => {
                // SAFETY: as above.
                let inner = unsafe { &*place.cast::<sockaddr_un>() };
                unix(py, inner, self.length as usize)
            }
            _ => Ok(py.None().into_bound(py)),
        }
    }
}

/// The host, as `inet_ntop(3)` writes it: Rust's own way differs for addresses that end like those of IPv4.
fn text(address: &sockaddr_in6) -> String {
    unsafe extern "C" {
        fn inet_ntop(family: c_int, from: *const c_void, to: *mut c_char, size: socklen_t) -> *const c_char;
    }
    let mut place: [c_char; 64] = [0; 64];
    // SAFETY: the text has room; it ends with a zero.
    unsafe {
        let from = (&raw const address.sin6_addr).cast();
        inet_ntop(libc::AF_INET6, from, place.as_mut_ptr(), place.len() as socklen_t);
        CStr::from_ptr(place.as_ptr()).to_string_lossy().into_owned()
    }
}

fn unix<'py>(py: Python<'py>, address: &sockaddr_un, length: usize) -> PyResult<Bound<'py, PyAny>> {
    let length = length.saturating_sub(std::mem::offset_of!(sockaddr_un, sun_path));
    // SAFETY: c_char and u8 have one layout.
    let path: &[u8] =
        unsafe { std::slice::from_raw_parts(address.sun_path.as_ptr().cast(), address.sun_path.len()) };
    let path = path.get(..length).unwrap_or(path);
    if path.first() == Some(&0) {
        // In the abstract name space: bytes, zeros and all.
        return Ok(PyBytes::new(py, path).into_any());
    }
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    // SAFETY: the call gives a new str or an exception.
    unsafe {
        let text = ffi::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), end as isize);
        Bound::from_owned_ptr_or_err(py, text)
    }
}

/// Which family a socket is of.
pub fn family(fd: c_int) -> c_int {
    let mut family: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: the option is one integer. A descriptor that is no socket leaves 0.
    let _failed = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut family).cast(),
            &raw mut length,
        )
    };
    family
}
