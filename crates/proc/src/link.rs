//! Messages with descriptors between two processes: a pair of `SOCK_SEQPACKET` sockets.
//!
//! Facts about it. A message is received whole or not at all, in order, and its descriptors with it; they are new in the receiver, and
//! closed on exec here. The end of file says that nobody holds the other end any more, however it went; a receiver that left
//! messages unread makes it `ECONNRESET` once, with what was sent before still there after it. A message holds 253 descriptors
//! at most, and bytes up to the socket's buffer: so a long one lies in a memfd, which goes as its first descriptor, and
//! one message stays one.
//!
//! **Trust.** What a peer sends is bytes: a long message is read (`pread`) and never mapped, so a peer that takes pages away
//! harms nobody.

use crate::{again, checked, inherited};
use std::io::{Error, ErrorKind, Result};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// One end.
#[derive(Debug)]
pub struct Link(Kept);

/// The descriptor, and whether a fork of this process is kept from it.
#[derive(Debug)]
struct Kept {
    fd: ManuallyDrop<OwnedFd>,
    marked: bool,
}

/// What came.
#[derive(Debug, Default)]
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
}

/// A message of more bytes goes by memfd.
const INLINE: usize = 32 << 10;
/// The longest message that is taken from a peer.
const LONGEST: u64 = 1 << 32;
/// As many as the system passes in one message, without the one of a long message.
pub const MOST_FDS: usize = 252;

/// The first byte of a message on the wire: where its bytes are.
const HERE: u8 = 0;
const IN_MEMFD: u8 = 1;

/// Room for the control part, aligned as its head has to be.
#[repr(C, align(8))]
struct Control([u8; 1080]);
// SAFETY: a plain computation.
const _: () = assert!(unsafe { libc::CMSG_SPACE(253 * 4) } as usize <= size_of::<Control>());

impl Link {
    /// Two ends of a new link, closed on exec. The first is for the process that asks: a fork of it does not have that end
    /// (it finds something useless by its number), so that the other one sees the end of file when this process is gone.
    ///
    /// # Errors
    /// The system's: no descriptors.
    pub fn pair() -> Result<(Self, Self)> {
        let mut ends: [RawFd; 2] = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: the array has room for both; the descriptors are new and ours.
        unsafe {
            checked(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()))?;
            inherited::mark(ends[0]);
            let mut ours = Self::from_raw_fd(ends[0]);
            ours.0.marked = true;
            Ok((ours, Self::from_raw_fd(ends[1])))
        }
    }

    /// Sends one message; waits while the other side's buffer is full.
    ///
    /// # Errors
    /// `BrokenPipe` when the other end is gone; `InvalidInput` for more than [`MOST_FDS`] descriptors; the system's.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.send_with(bytes, fds, 0)
    }

    /// As [`send`](Self::send), but `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.send_with(bytes, fds, libc::MSG_DONTWAIT)
    }

    fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: libc::c_int) -> Result<()> {
        if fds.len() > MOST_FDS {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "too many descriptors for one message",
            ));
        }
        let raw = fds.iter().map(AsRawFd::as_raw_fd);
        if bytes.len() <= INLINE {
            return self.send_one(HERE, bytes, &raw.collect::<Vec<_>>(), flags);
        }
        let body = body(bytes)?;
        let all: Vec<RawFd> = std::iter::once(body.as_raw_fd()).chain(raw).collect();
        self.send_one(IN_MEMFD, &[], &all, flags)
    }

    fn send_one(&self, place: u8, bytes: &[u8], fds: &[RawFd], flags: libc::c_int) -> Result<()> {
        let mut control = Control([0; size_of::<Control>()]);
        let mut parts = [
            libc::iovec {
                iov_base: (&raw const place).cast_mut().cast(),
                iov_len: 1,
            },
            libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            },
        ];
        // SAFETY: a zeroed msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        if !fds.is_empty() {
            #[expect(clippy::cast_possible_truncation, reason = "253 descriptors at most")]
            let length = size_of_val(fds) as u32;
            message.msg_control = control.0.as_mut_ptr().cast();
            // SAFETY: CMSG_* compute; the room was checked above to be enough for so many descriptors.
            unsafe {
                message.msg_controllen = libc::CMSG_SPACE(length) as usize;
                let head = libc::CMSG_FIRSTHDR(&raw const message);
                (*head).cmsg_level = libc::SOL_SOCKET;
                (*head).cmsg_type = libc::SCM_RIGHTS;
                (*head).cmsg_len = libc::CMSG_LEN(length) as usize;
                std::ptr::copy_nonoverlapping(fds.as_ptr().cast(), libc::CMSG_DATA(head), length as usize);
            }
        }
        let flags = flags | libc::MSG_NOSIGNAL;
        // SAFETY: the message points to parts and control, which outlive the call.
        again(|| unsafe { libc::sendmsg(self.as_raw_fd(), &raw const message, flags) }).map(drop)
    }

    /// The next message; waits for it. `None`: the other end is gone and everything that it sent has been received.
    ///
    /// # Errors
    /// The system's; `InvalidData` for what no [`send`](Self::send) sends; `EMFILE` where descriptors did not fit into this
    /// process (the message is lost).
    pub fn recv(&self) -> Result<Option<Message>> {
        self.recv_with(0)
    }

    /// As [`recv`](Self::recv), but `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Message>> {
        self.recv_with(libc::MSG_DONTWAIT)
    }

    fn recv_with(&self, flags: libc::c_int) -> Result<Option<Message>> {
        let mut place = HERE;
        let mut bytes = vec![0; INLINE];
        let mut control = Control([0; size_of::<Control>()]);
        let mut parts = [
            libc::iovec {
                iov_base: (&raw mut place).cast(),
                iov_len: 1,
            },
            libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            },
        ];
        // SAFETY: a zeroed msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        message.msg_control = control.0.as_mut_ptr().cast();
        let flags = flags | libc::MSG_CMSG_CLOEXEC;
        let mut receive = || {
            again(|| {
                message.msg_controllen = size_of::<Control>(); // the system writes what it used
                // SAFETY: the message points to parts and control, which outlive the call.
                unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, flags) }
            })
        };
        let reset =
            |end: &Result<usize>| matches!(end, Err(error) if error.raw_os_error() == Some(libc::ECONNRESET));
        let mut received = receive();
        if reset(&received) {
            received = receive();
        }
        if reset(&received) {
            return Ok(None);
        }
        let length = received?;
        if length == 0 {
            return Ok(None); // every message has a first byte
        }
        // SAFETY: the system has just written the control part.
        let mut fds = unsafe { descriptors(&message) };
        if message.msg_flags & libc::MSG_CTRUNC != 0 {
            return Err(Error::from_raw_os_error(libc::EMFILE));
        }
        if message.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(Error::new(ErrorKind::InvalidData, "a message that is too long"));
        }
        bytes.truncate(length - 1);
        if place == IN_MEMFD {
            if fds.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidData,
                    "a long message without its body",
                ));
            }
            bytes = read_all(&fds.remove(0))?;
        }
        Ok(Some(Message { bytes, fds }))
    }
}

impl From<OwnedFd> for Link {
    fn from(fd: OwnedFd) -> Self {
        Self(Kept {
            fd: ManuallyDrop::new(fd),
            marked: false,
        })
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        // SAFETY: the number is open, and `into_raw_fd` gave up its ownership.
        unsafe { Self::from_raw_fd(link.into_raw_fd()) }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

impl FromRawFd for Link {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise.
        Self::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl IntoRawFd for Link {
    fn into_raw_fd(self) -> RawFd {
        let fd = self.as_raw_fd();
        let kept = ManuallyDrop::new(self.0);
        if kept.marked {
            inherited::unmark(fd);
        }
        fd
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.marked {
            inherited::unmark(self.fd.as_raw_fd());
        }
        // SAFETY: it is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.fd) };
    }
}

/// Takes all descriptors out of a message that has been received, so that none is left open whatever follows.
///
/// # Safety
/// The message is as `recvmsg` left it, and nobody has taken them before.
unsafe fn descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: CMSG_* walk within msg_controllen, which the system has set; the descriptors are new and ours.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(head);
                let before = libc::CMSG_LEN(0) as usize;
                let count = (*head).cmsg_len.saturating_sub(before) / size_of::<RawFd>();
                for at in 0..count {
                    let fd = data.cast::<RawFd>().add(at).read_unaligned();
                    found.push(OwnedFd::from_raw_fd(fd));
                }
            }
            head = libc::CMSG_NXTHDR(message, head);
        }
    }
    found
}

/// A memfd that holds the bytes.
fn body(bytes: &[u8]) -> Result<OwnedFd> {
    // SAFETY: the name is a C string; the descriptor is new and ours.
    let file = unsafe {
        OwnedFd::from_raw_fd(checked(libc::memfd_create(
            c"plait-link".as_ptr(),
            libc::MFD_CLOEXEC,
        ))?)
    };
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        // SAFETY: the slice is alive.
        done += again(|| unsafe { libc::write(file.as_raw_fd(), rest.as_ptr().cast(), rest.len()) })?;
    }
    Ok(file)
}

/// What a file holds now, read from its beginning.
fn read_all(file: &OwnedFd) -> Result<Vec<u8>> {
    // SAFETY: a zeroed stat is valid, and fstat fills it in.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        checked(libc::fstat(file.as_raw_fd(), &raw mut stat))?;
        stat
    };
    let wrong = || Error::new(ErrorKind::InvalidData, "not the body of a message");
    let size = u64::try_from(stat.st_size).map_err(|_| wrong())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || size > LONGEST {
        return Err(wrong());
    }
    let size = usize::try_from(size).map_err(|_| wrong())?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size)
        .map_err(|_| ErrorKind::OutOfMemory)?;
    bytes.resize(size, 0);
    let mut done = 0;
    while done < size {
        let at = libc::off_t::try_from(done).map_err(|_| wrong())?;
        let rest = &mut bytes[done..];
        // SAFETY: the slice is alive and ours.
        match again(|| unsafe { libc::pread(file.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), at) })? {
            0 => return Err(wrong()), // made shorter meanwhile
            count => done += count,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
