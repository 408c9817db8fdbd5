//! The system calls of the transports. Linux only: what would differ elsewhere (`accept4`, `MSG_NOSIGNAL`) stands here.
//!
//! All descriptors are nonblocking, so a call takes microseconds; the thread stays attached (`docs/design/transports.md`
//! has what detaching costs). A failure is an `errno`.

use super::address::Address;
use libc::{c_int, iovec, ssize_t};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Fails with `EPIPE` instead of a signal, and never waits, whatever mode the socket is in.
const QUIET: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// What a failed call left in `errno`.
pub type Errno = c_int;

fn errno() -> Errno {
    // SAFETY: the pointer is to this thread's errno.
    unsafe { *libc::__errno_location() }
}

/// Repeats a call that a signal interrupted; its count, or why it failed.
fn retried(mut call: impl FnMut() -> ssize_t) -> Result<usize, Errno> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return Err(errno()),
        }
    }
}

/// Whether the call is to be tried again once the descriptor is ready.
#[inline]
pub fn would_block(errno: Errno) -> bool {
    errno == libc::EAGAIN || errno == libc::EWOULDBLOCK
}

/// The exception that the standard library raises for `errno`: of the subclass of `OSError` that belongs to it.
#[cold]
pub fn error(py: Python<'_>, errno: Errno) -> PyErr {
    // SAFETY: errno is this thread's; the call sets an exception, which `fetch` takes.
    unsafe {
        *libc::__errno_location() = errno;
        pyo3::ffi::PyErr_SetFromErrno(py.get_type::<PyOSError>().as_ptr());
    }
    PyErr::fetch(py)
}

/// `recv(2)` into `place`.
pub fn receive(fd: c_int, place: &mut [u8]) -> Result<usize, Errno> {
    let (to, length) = (place.as_mut_ptr().cast(), place.len());
    // SAFETY: the slice may be written.
    retried(|| unsafe { libc::recv(fd, to, length, libc::MSG_DONTWAIT) })
}

/// `read(2)` into `place`, of what is no socket.
pub fn read(fd: c_int, place: &mut [u8]) -> Result<usize, Errno> {
    let (to, length) = (place.as_mut_ptr().cast(), place.len());
    // SAFETY: the slice may be written.
    retried(|| unsafe { libc::read(fd, to, length) })
}

/// `recvfrom(2)` into `place`; tells the sender's address.
pub fn receive_from(fd: c_int, place: &mut [u8], sender: &mut Address) -> Result<usize, Errno> {
    let (to, length) = (place.as_mut_ptr().cast(), place.len());
    // SAFETY: the slice may be written; the address has the room that it says.
    retried(|| unsafe {
        sender.length = size_of_val(&sender.storage) as libc::socklen_t;
        let address = (&raw mut sender.storage).cast();
        libc::recvfrom(
            fd,
            to,
            length,
            libc::MSG_DONTWAIT,
            address,
            &raw mut sender.length,
        )
    })
}

/// `accept4(2)`: a new descriptor, nonblocking and not inherited by programs, and where it is from.
pub fn accept(fd: c_int) -> Result<(c_int, Address), Errno> {
    let mut peer = Address::room();
    let new = retried(|| {
        let address = (&raw mut peer.storage).cast();
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        peer.length = size_of_val(&peer.storage) as libc::socklen_t;
        // SAFETY: the address has the room that it says.
        unsafe { libc::accept4(fd, address, &raw mut peer.length, flags) as ssize_t }
    })?;
    // A descriptor is a c_int.
    Ok((c_int::try_from(new).unwrap_or(-1), peer))
}

/// `getpeername(2)`, or `getsockname(2)`.
pub fn name(fd: c_int, peer: bool) -> Result<Address, Errno> {
    let mut name = Address::room();
    let (place, length) = ((&raw mut name.storage).cast(), &raw mut name.length);
    // SAFETY: the address has the room that it says.
    let done = unsafe {
        if peer {
            libc::getpeername(fd, place, length)
        } else {
            libc::getsockname(fd, place, length)
        }
    };
    if done == 0 { Ok(name) } else { Err(errno()) }
}

/// `close(2)`, of a descriptor that nobody else has.
pub fn close(fd: c_int) {
    // SAFETY: takes an integer; the caller owns the descriptor.
    let _closed = unsafe { libc::close(fd) };
}

/// `SO_ERROR`: what a `connect` that has gone on has ended with. 0: well.
pub fn pending_error(fd: c_int) -> Errno {
    let mut error: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option is one integer.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut length,
        )
    };
    if done == 0 { error } else { errno() }
}

/// `sendto(2)`.
pub fn send_to(fd: c_int, data: &[u8], address: &Address) -> Result<usize, Errno> {
    let (place, length) = (data.as_ptr().cast(), data.len());
    // SAFETY: the slice and the address are valid while they are borrowed.
    retried(|| unsafe { libc::sendto(fd, place, length, QUIET, address.as_ptr(), address.length) })
}

/// What kind of file it is: `st_mode` of `fstat(2)`.
pub fn mode(fd: c_int) -> Result<libc::mode_t, Errno> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: filled in if the call returns 0.
    unsafe {
        match libc::fstat(fd, stat.as_mut_ptr()) {
            0 => Ok(stat.assume_init().st_mode),
            _ => Err(errno()),
        }
    }
}

/// Calls on it fail instead of waiting, from here on.
pub fn set_nonblocking(fd: c_int) -> Result<(), Errno> {
    let mut yes: c_int = 1;
    // SAFETY: the request takes an integer.
    match unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut yes) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// `send(2)`.
pub fn send(fd: c_int, data: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the slice is valid while it is borrowed.
    retried(|| unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), QUIET) })
}

/// `write(2)`, of what is no socket.
pub fn write(fd: c_int, data: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the slice is valid while it is borrowed.
    retried(|| unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) })
}

/// Several pieces in one call: `sendmsg(2)` for a socket, `writev(2)` for what is none.
///
/// # Safety
/// Each piece may be read.
pub unsafe fn send_all(fd: c_int, socket: bool, pieces: &mut [iovec]) -> Result<usize, Errno> {
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len() as _;
    // SAFETY: the caller's promise; the message points to the slice.
    retried(|| unsafe {
        if socket {
            libc::sendmsg(fd, &raw const message, QUIET)
        } else {
            let count = c_int::try_from(message.msg_iovlen).unwrap_or(c_int::MAX);
            libc::writev(fd, message.msg_iov, count)
        }
    })
}

/// `shutdown(2)` of the side that writes.
pub fn end_writing(fd: c_int) -> Result<(), Errno> {
    // SAFETY: takes integers.
    match unsafe { libc::shutdown(fd, libc::SHUT_WR) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// Small writes leave at once. Sockets that are not TCP refuse, which does not matter.
pub fn set_no_delay(fd: c_int) {
    let yes: c_int = 1;
    // SAFETY: the option is one integer.
    let _refused = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const yes).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
}
