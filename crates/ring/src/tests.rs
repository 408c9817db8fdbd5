//! Rings between threads and between processes, and what a process can do wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::memory::Memory;
use crate::page::Page;
use crate::ring::{Consumer, Corrupt, HEADER, Producer, footprint};
use crate::{Woken, bell::BACKSTOP};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

fn ends(memory: &Memory) -> (Producer, Consumer) {
    // SAFETY: each test makes them once for its memory, which it keeps.
    unsafe { (memory.producer(), memory.consumer()) }
}

fn pop_or_sleep(consumer: &mut Consumer, bytes: &mut Vec<u8>) -> u32 {
    loop {
        bytes.clear();
        if let Some(tag) = consumer.pop(bytes).unwrap() {
            consumer.release();
            return tag;
        }
        let bell = std::ptr::from_ref(&consumer.control().bell);
        // SAFETY: in the memory, which outlives the ends.
        unsafe { &*bell }.sleep(Duration::from_secs(1), || consumer.has_record().unwrap());
    }
}

fn push_or_sleep(producer: &mut Producer, tag: u32, bytes: &[u8]) {
    while !producer.push(tag, &[bytes]).unwrap() {
        producer.publish();
        let room = std::ptr::from_ref(&producer.control().room);
        // SAFETY: as above.
        unsafe { &*room }.sleep(Duration::from_secs(1), || producer.fits(bytes.len()).unwrap());
    }
    producer.publish();
}

#[test]
fn records_of_every_length_come_out_as_they_went_in_many_times_around() {
    let memory = Memory::new(1).unwrap();
    assert_eq!(memory.capacity(), 4096);
    let (mut producer, mut consumer) = ends(&memory);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for length in 0..=4096 - HEADER {
                push_or_sleep(&mut producer, length as u32, &vec![length as u8; length]);
            }
        });
        let mut bytes = Vec::new();
        for length in 0..=4096 - HEADER {
            assert_eq!(pop_or_sleep(&mut consumer, &mut bytes) as usize, length);
            assert_eq!(bytes, vec![length as u8; length]);
        }
    });
    assert!(producer.is_drained());
}

#[test]
fn what_is_not_published_is_not_there() {
    let memory = Memory::new(4096).unwrap();
    let (mut producer, mut consumer) = ends(&memory);
    assert!(producer.push(1, &[b"half"]).unwrap());
    assert_eq!(consumer.pop(&mut Vec::new()), Ok(None));
    producer.publish();
    assert_eq!(consumer.pop(&mut Vec::new()), Ok(Some(1)));
}

#[test]
fn too_long_a_record_never_fits() {
    let memory = Memory::new(4096).unwrap();
    let (mut producer, _) = ends(&memory);
    assert!(!producer.push(0, &[&vec![0; producer.longest() + 1]]).unwrap());
    assert!(producer.push(0, &[&vec![0; producer.longest()]]).unwrap());
}

#[test]
fn a_child_that_is_killed_in_the_middle_leaves_whole_records_and_nothing_else() {
    let memory = Memory::new(1 << 16).unwrap();
    let (mut producer, mut consumer) = ends(&memory);
    // SAFETY: the child touches the ring only, allocates nothing, and is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut tag = 0_u32;
        loop {
            let text = tag.to_le_bytes();
            if matches!(producer.push(tag, &[&text, &text]), Ok(true)) {
                producer.publish();
                tag = tag.wrapping_add(1);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut next = 0;
    let begin = Instant::now();
    let mut killed = false;
    loop {
        bytes.clear();
        match consumer.pop(&mut bytes).unwrap() {
            Some(tag) => {
                assert_eq!(tag, next);
                assert_eq!(bytes, [tag.to_le_bytes(), tag.to_le_bytes()].concat());
                next += 1;
                consumer.release();
            }
            None if killed => break,
            None => std::thread::yield_now(),
        }
        if !killed && next > 10_000 || begin.elapsed() > Duration::from_secs(20) {
            // SAFETY: our own child.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
            killed = true;
        }
    }
    assert!(next > 10_000, "the child wrote {next} records only");
}

#[test]
fn nonsense_is_refused() {
    let memory = Memory::new(4096).unwrap();
    let (mut producer, mut consumer) = ends(&memory);
    assert!(producer.push(7, &[b"12345678"]).unwrap());
    producer.publish();
    // The producer's process overwrites the length of what it has published.
    let twin = Memory::open(descriptor_of(&memory)).unwrap();
    // SAFETY: `twin` maps the same bytes; nobody else looks at them in this test.
    unsafe {
        twin.bytes().as_ptr().cast::<u32>().write(u32::MAX);
    }
    let refused: Result<_, Corrupt> = consumer.pop(&mut Vec::new());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("longer than what is published")
    );
    // And it claims to have published more than there is room for.
    // SAFETY: as above; the tail is the first word of the control.
    unsafe { twin.bytes().as_ptr().sub(4096).cast::<u64>().write(1 << 40) };
    let memory_of_another = Memory::open(descriptor_of(&memory)).unwrap();
    // SAFETY: a second reader for this check only; the first is not used any more.
    let mut consumer = unsafe { memory_of_another.consumer() };
    assert!(consumer.has_record().unwrap_err().to_string().contains("tail"));
}

fn descriptor_of(memory: &Memory) -> std::os::fd::OwnedFd {
    memory.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn only_the_memory_of_a_ring_can_be_opened() {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(
        Memory::open(file.into()).unwrap_err().kind(),
        std::io::ErrorKind::InvalidData
    );
}

#[test]
fn a_sleep_ends_by_itself() {
    let memory = Memory::new(4096).unwrap();
    let (_, consumer) = ends(&memory);
    let begin = Instant::now();
    assert_eq!(
        consumer.control().bell.sleep(Duration::from_millis(20), || false),
        Woken::TimedOut
    );
    assert!(begin.elapsed() >= Duration::from_millis(20) && begin.elapsed() < BACKSTOP);
    assert_eq!(footprint(0), HEADER);
}

#[test]
fn a_page_is_as_long_as_it_was_asked_for_and_seen_by_who_opens_it() {
    let page = Page::new(c"plait-test", 5000).unwrap();
    assert_eq!(page.len(), 5000);
    let twin = Page::open(page.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(twin.len(), 5000);
    // SAFETY: within both mappings; nobody else looks at them.
    unsafe {
        assert_eq!(twin.ptr().add(4999).read(), 0);
        page.ptr().add(4999).write(7);
        assert_eq!(twin.ptr().add(4999).read(), 7);
    }
    let file = std::fs::File::from(page.as_fd().try_clone_to_owned().unwrap());
    assert!(file.set_len(1).is_err(), "it can be shrunk under its readers");
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(Page::open(file.into()).is_err());
}

#[test]
fn a_page_that_cannot_be_is_an_error() {
    for size in [usize::MAX, 1 << 62] {
        let error = Page::new(c"plait-test", size).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
