//! Every interleaving of small programs: run with `--cfg loom`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use crate::lease::{Standing, Word};
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

/// The bytes behind a lease, as loom watches them: written by the sender, read by the receiver.
struct Slot {
    word: Word,
    bytes: loom::cell::UnsafeCell<u32>,
}

// SAFETY: the models show that nobody reads while somebody writes; loom says so where it is not so.
unsafe impl Sync for Slot {}

impl Slot {
    fn leaked() -> &'static Self {
        Box::leak(Box::new(Self {
            word: Word::default(),
            bytes: loom::cell::UnsafeCell::new(0),
        }))
    }

    fn write(&self, value: u32) {
        // SAFETY: the model's claim.
        self.bytes.with_mut(|bytes| unsafe { *bytes = value });
        self.word.offer(value);
    }

    /// What the receiver of `life` finds, if it gets the lease.
    fn read(&self, life: u32) -> Option<u32> {
        self.word.take(life).then(|| {
            // SAFETY: the model's claim.
            let found = self.bytes.with(|bytes| unsafe { *bytes });
            self.word.release(life);
            found
        })
    }
}

#[test]
fn a_slot_is_written_again_only_after_it_was_read() {
    loom::model(|| {
        let slot = Slot::leaked();
        slot.write(1);
        let reader = loom::thread::spawn(move || assert!(matches!(slot.read(1), None | Some(1))));
        // Withdrawn, or read to the end: either way it is the sender's.
        if slot.word.withdraw(1) || slot.word.standing(1) == Standing::Back {
            slot.write(2);
            assert_eq!(slot.read(2), Some(2));
        }
        reader.join().unwrap();
    });
}

#[test]
fn of_a_withdrawal_and_a_take_one_happens() {
    loom::model(|| {
        let slot = Slot::leaked();
        slot.write(1);
        let reader = loom::thread::spawn(move || slot.read(1).is_some());
        let withdrawn = slot.word.withdraw(1);
        assert_ne!(reader.join().unwrap(), withdrawn);
        assert_eq!(slot.word.standing(1), Standing::Back);
    });
}

#[test]
fn bytes_that_are_offered_again_are_lost_to_the_sender_while_the_first_receiver_may_read() {
    loom::model(|| {
        let slot = Slot::leaked();
        slot.write(1);
        let reader = loom::thread::spawn(move || slot.read(1));
        let lost = slot.word.again(1) == Standing::Lost;
        let second = slot.read(1);
        let first = reader.join().unwrap();
        assert!(first.is_some() || second.is_some());
        if !lost && slot.word.standing(1) == Standing::Back {
            slot.write(2);
        }
    });
}
