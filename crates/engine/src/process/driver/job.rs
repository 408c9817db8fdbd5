//! A call that is not settled: its future, and the record that it is sent with, as often as it has to be.

use super::functions::{CallText, Functions};
use crate::held::Held;
use plait_pool::{TaskId, WorkerId};
use plait_ring::Offer;
use smallvec::SmallVec;

/// Arguments that are shorter lie in the job itself.
pub const SHORT: usize = 36;

/// The arguments of a call, encoded.
pub type Body = SmallVec<[u8; SHORT]>;

/// A call.
#[derive(Debug)]
pub struct Job {
    pub id: TaskId,
    /// An instance of `FutureCore`.
    pub future: Held,
    /// Its function's number, or `NO_FUNCTION`.
    pub function: u32,
    pub form: u8,
    pub flags: u8,
    pub attempts: u32,
    pub body: Body,
    /// What the body names, if that is a segment.
    pub offer: Option<Offer>,
    /// The worker in whose ring it lies, and under which sequence number.
    pub lease: Option<(WorkerId, u32)>,
    pub timeout: Option<u64>,
    pub submitted: u64,
}

impl Job {
    /// What errors say of it.
    #[must_use]
    pub fn text(&self, functions: &Functions) -> CallText {
        CallText {
            name: functions.get(self.function).map(|its| its.name.clone()),
            form: self.form,
            body: self.body.clone(),
        }
    }
}
