//! Every interleaving of small programs: run with `--cfg loom`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::ring::{Consumer, Control, Producer};
use std::ptr::NonNull;
use std::time::Duration;

pub(crate) const CAPACITY: usize = 32;

/// Both ends of a ring in leaked memory; two records of up to 8 bytes fit.
fn ring() -> (Producer, Consumer) {
    let control = NonNull::from(Box::leak(Box::<Control>::default()));
    // The models' records do not wrap: each is 16 bytes, and the capacity a multiple of that.
    let bytes = NonNull::from(Box::leak(Box::new([0_u8; 2 * CAPACITY]))).cast();
    // SAFETY: new, zeroed and leaked; one end of each kind.
    unsafe {
        (
            Producer::new(control, bytes, CAPACITY),
            Consumer::new(control, bytes, CAPACITY),
        )
    }
}

fn wait_and_pop(consumer: &mut Consumer, to: &mut Vec<u8>) -> u32 {
    loop {
        if let Some(tag) = consumer.pop(to).unwrap() {
            return tag;
        }
        let control: *const Control = consumer.control();
        // SAFETY: leaked.
        unsafe { &*control }
            .bell
            .sleep(Duration::MAX, || consumer.has_record().unwrap());
    }
}

#[test]
fn a_sleeping_consumer_hears_of_each_record() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring();
        let writer = loom::thread::spawn(move || {
            assert!(producer.push(1, &[b"a", b"bc"]).unwrap());
            producer.publish();
            assert!(producer.push(2, &[b"defghijk"]).unwrap());
            producer.publish();
        });
        let mut bytes = Vec::new();
        assert_eq!(wait_and_pop(&mut consumer, &mut bytes), 1);
        assert_eq!(wait_and_pop(&mut consumer, &mut bytes), 2);
        assert_eq!(bytes, b"abcdefghijk");
        writer.join().unwrap();
    });
}

#[test]
fn a_producer_that_sleeps_for_room_gets_it_and_writes_over_nothing_unread() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring();
        for tag in 0..2 {
            assert!(producer.push(tag, &[&[tag as u8; 8]]).unwrap());
        }
        producer.publish();
        let writer = loom::thread::spawn(move || {
            while !producer.push(2, &[&[2; 8]]).unwrap() {
                let control: *const Control = producer.control();
                // SAFETY: leaked.
                unsafe { &*control }
                    .room
                    .sleep(Duration::MAX, || producer.fits(8).unwrap());
            }
            producer.publish();
        });
        let mut bytes = Vec::new();
        for tag in 0..3 {
            assert_eq!(wait_and_pop(&mut consumer, &mut bytes), tag);
            consumer.release();
        }
        assert_eq!(bytes, [[0; 8], [1; 8], [2; 8]].concat());
        writer.join().unwrap();
    });
}
