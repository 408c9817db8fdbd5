//! What comes up from the workers. All of it is untrusted: a record that cannot be condemns its worker, and nothing else.

use super::deliveries::{Record, Soon};
use super::inside::{Inside, News};
use crate::process::extent;
use crate::process::outcome::Arrived;
use crate::process::protocol::{ResultHead, form, read_u64, up};
use crate::process::telemetry::Telemetry;
use plait_pool::{Nanos, TaskId, WorkerId};

/// So many records of one worker are read before the next one's turn comes.
const AT_ONCE: usize = 1024;
/// So many bytes of a record's copy are kept for the next.
const ROOMY: usize = 1 << 16;

impl Inside {
    /// Reads all rings, and does what follows; what that puts into rings is published by the caller.
    #[inline]
    pub fn drain(&mut self, now: Nanos, news: &mut News) {
        for place in 0..self.workers.len() {
            self.drain_one(place, AT_ONCE, now, news);
        }
    }

    /// Whether a ring has something.
    #[must_use]
    pub fn has_records(&mut self) -> bool {
        self.workers
            .iter_mut()
            .flatten()
            .any(|its| !its.is_corrupt && !matches!(its.consumer.has_record(), Ok(false)))
    }

    /// Reads the ring of a worker that has died to its end.
    pub fn drain_to_end(&mut self, id: WorkerId, now: Nanos, news: &mut News) {
        self.drain_one(id.place(), usize::MAX, now, news);
    }

    #[inline]
    fn drain_one(&mut self, place: usize, most: usize, now: Nanos, news: &mut News) {
        let mut taken = 0;
        while let Some(Some(worker)) = self.workers.get_mut(place)
            && !worker.is_corrupt
        {
            let id = worker.id;
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            let popped = worker.consumer.pop(&mut scratch);
            let fine = match popped {
                Ok(None) => {
                    if taken > 0 {
                        worker.consumer.release();
                    }
                    self.scratch = scratch;
                    return;
                }
                Ok(Some(tag)) => self.record(id, tag, &scratch, now, news),
                Err(_) => false,
            };
            if scratch.capacity() <= ROOMY {
                self.scratch = scratch;
            }
            if !fine {
                self.condemn(id);
            }
            self.carry_out(now, news);
            taken += 1;
            news.found += 1;
            if taken >= most {
                if let Some(Some(worker)) = self.workers.get_mut(place) {
                    worker.consumer.release();
                }
                return;
            }
        }
    }

    /// One record. False if it cannot be.
    #[inline]
    fn record(&mut self, id: WorkerId, tag: u32, bytes: &[u8], now: Nanos, news: &mut News) -> bool {
        match tag {
            up::RESULT => self.result(id, bytes, now, news),
            up::STARTED | up::LOADS => {
                let Some((task, [])) = read_u64(bytes) else {
                    return false;
                };
                let task = TaskId::from_bits(task);
                if tag == up::STARTED {
                    self.policy.started(id, task, now, &mut self.out);
                } else {
                    self.policy.loads(id, task, now, &mut self.out);
                }
                true
            }
            up::READY => {
                self.struck = 0;
                self.policy.up(id, &mut self.out);
                bytes.is_empty()
            }
            up::UNFIT => {
                let Some((form, value)) = bytes.split_first() else {
                    return false;
                };
                self.records.push(Record::Unfit(*form, value.into()));
                true
            }
            up::OUTPUT => {
                let Some((stream @ (1 | 2), text)) = bytes.split_first() else {
                    return false;
                };
                if *stream == 2
                    && let Some(worker) = self.worker_mut(id)
                {
                    worker.remember(text);
                }
                self.said += 1;
                self.soon.push(Soon::Output(*stream, text.into()));
                true
            }
            up::LOG => {
                self.logs.read();
                self.records.push(Record::Log(bytes.into()));
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn result(&mut self, id: WorkerId, bytes: &[u8], now: Nanos, news: &mut News) -> bool {
        let Some((head, value)) = ResultHead::read(bytes) else {
            return false;
        };
        let task = TaskId::from_bits(head.task);
        let Some(worker) = self.worker_mut(id) else {
            return false;
        };
        if !worker.returned(task) {
            return false;
        }
        let value = if head.form == form::SEGMENT {
            // Also if nobody wants it any more: to let go of it is what the worker waits for.
            match extent::open(&mut worker.inbox, value, &worker.link) {
                Ok(parcel) => Arrived::Large(parcel),
                Err(_) => return false,
            }
        } else {
            Arrived::Bytes(head.form, value)
        };
        let known = Telemetry {
            submitted: 0,
            ended: now,
            took: head.took,
            cpu: head.cpu,
            peak: head.peak,
            pid: worker.pid,
            attempts: 0,
        };
        if self.policy.finished(id, task, head.took, &mut self.out) {
            self.deliver(task, head.how, value, known, news);
        }
        true
    }
}
