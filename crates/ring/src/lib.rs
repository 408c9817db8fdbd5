//! Bytes from one process to another through memory that both have mapped.
//!
//! A [`Ring`](ring) has one producer and one consumer, so nothing in it is a lock, and a process that is killed at any
//! instruction leaves it usable: a record counts from the moment that the tail is stored behind it, and the space of a
//! record is free from the moment that the head is stored behind it. What lies beyond the tail is nobody's.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`page`] | an anonymous file (memfd), sealed against shrinking, its pages there before they are used, mapped |
//! | [`memory`] | the same for a ring: mapped so that its bytes follow their end once more |
//! | [`ring`] | records in order: the producer's end and the consumer's |
//! | [`lease`] | the word that says who may touch the bytes of a large value |
//! | [`segment`] | memory for large values: equal slots, and a lease's word for each |
//! | [`arena`] | the segments of a sender: what is free, what is kept |
//! | [`offer`] | a slot while its sender holds it |
//! | [`parcel`] | a large value on its way: packed by the sender, opened by the receiver |
//! | [`bell`] | how a consumer that sleeps is woken by a producer in another process, and costs nothing while it does not |
//!
//! **Trust.** The consumer does not believe what the producer wrote: positions and lengths are checked against the
//! capacity each time, and a record is copied out before anybody looks at it, since the other side may go on writing.
//! What does not fit is [`Corrupt`], once and for all; the bytes of a record mean nothing here.
//!
//! **Order.** `tail` is stored with Release after the record's bytes and loaded with Acquire before them; `head` is stored
//! with Release after the bytes have been copied out and loaded with Acquire before the producer writes there again. That
//! no wake-up is lost is shown at [`bell`]. The loom models are in `loom_tests`.

#![warn(missing_docs)]

#[cfg(not(loom))]
pub mod arena;
#[cfg(not(loom))]
mod available;
pub mod bell;
#[cfg(not(loom))]
mod forks;
pub mod lease;
#[cfg(not(loom))]
pub mod memory;
#[cfg(not(loom))]
pub mod offer;
#[cfg(not(loom))]
pub mod page;
#[cfg(not(loom))]
pub mod parcel;
pub mod ring;
#[cfg(not(loom))]
pub mod segment;
mod sync;

#[cfg(all(test, not(loom)))]
mod large_tests;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use arena::Arena;
pub use bell::{Bell, Woken};
#[cfg(not(loom))]
pub use offer::Offer;
#[cfg(not(loom))]
pub use page::Page;
#[cfg(not(loom))]
pub use parcel::{Inbox, Parcel, Part};
pub use ring::{Consumer, Control, Corrupt, Producer};
