//! What a link promises: whole messages, descriptors in order, the end after everything.

use super::*;
use std::io::{Read, Write};

#[test]
fn a_message_arrives_whole_with_its_descriptors_in_order() {
    let (a, b) = Link::pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    a.send(b"first", &[writer.as_fd(), a.as_fd()]).unwrap();
    a.send(b"", &[]).unwrap();
    drop((a, writer));
    let message = b.recv().unwrap().unwrap();
    assert_eq!(message.bytes, b"first");
    assert_eq!(message.fds.len(), 2);
    for fd in &message.fds {
        // SAFETY: a plain question.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
    }
    let mut fds = message.fds.into_iter();
    std::fs::File::from(fds.next().unwrap())
        .write_all(b"through")
        .unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    assert!(b.recv().unwrap().unwrap().bytes.is_empty());
    assert_eq!(b.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(fds); // the other end
    assert!(b.recv().unwrap().is_none());
}

#[test]
fn a_long_message_is_one_message() {
    let (a, b) = Link::pair().unwrap();
    for length in [INLINE - 1, INLINE, INLINE + 1, 5 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        a.send(&bytes, &[a.as_fd()]).unwrap();
        let message = b.recv().unwrap().unwrap();
        assert_eq!((message.bytes == bytes, message.fds.len()), (true, 1), "{length}");
    }
}

#[test]
fn the_end_comes_after_what_was_sent_before_it() {
    let (a, b) = Link::pair().unwrap();
    b.send(b"unread", &[]).unwrap();
    a.send(b"last", &[]).unwrap();
    drop(a);
    assert_eq!(b.recv().unwrap().unwrap().bytes, b"last");
    assert!(b.recv().unwrap().is_none());
    assert_eq!(b.send(b"x", &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_full_link_says_so() {
    let (a, _b) = Link::pair().unwrap();
    let error = (0..100_000).find_map(|_| a.try_send(&[0; 1000], &[]).err());
    assert_eq!(error.unwrap().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_body_that_is_none_is_refused() {
    let (a, b) = Link::pair().unwrap();
    a.send_one(IN_MEMFD, &[], &[], 0).unwrap();
    assert_eq!(b.recv().unwrap_err().kind(), ErrorKind::InvalidData);
    a.send_one(IN_MEMFD, &[], &[a.as_raw_fd()], 0).unwrap();
    assert_eq!(b.recv().unwrap_err().kind(), ErrorKind::InvalidData);
    a.send(&[0; 10], &vec![a.as_fd(); MOST_FDS]).unwrap();
    assert_eq!(b.recv().unwrap().unwrap().fds.len(), MOST_FDS);
    assert!(a.send(&[0; 10], &vec![a.as_fd(); MOST_FDS + 1]).is_err());
}
