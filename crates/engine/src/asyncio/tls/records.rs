//! Where the records of TLS begin and end in what came, so that nobody asks OpenSSL for a record that is not there yet:
//! its answer is an exception, which costs more than decrypting a small record.
//!
//! This is a hint only, and errs on one side: what does not look like TLS is handed to OpenSSL at once, which says what it is.

/// Type, version and length stand before each record.
const HEADER: usize = 5;
/// What a record may have at most: 2^14 bytes, and what a cipher adds (RFC 5246, 6.2.3).
const LARGEST: usize = (1 << 14) + 2048;

/// The records of one direction, as far as they came.
#[derive(Debug, Default)]
pub struct Records {
    /// The bytes of the header that came.
    header: [u8; HEADER],
    have: usize,
    /// What is missing of the record's body.
    missing: usize,
    /// Complete ones that were not asked for.
    ready: usize,
    /// The size of the largest of them, with its header, and of all of them.
    largest: usize,
    whole: usize,
    /// OpenSSL has not said yet that it has nothing more.
    unknown: bool,
    /// It does not look like TLS.
    strange: bool,
}

impl Records {
    /// Takes note of what came.
    pub fn feed(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.have < HEADER {
                let taken = data.len().min(HEADER - self.have);
                let (head, rest) = data.split_at(taken);
                if let Some(place) = self.header.get_mut(self.have..self.have + taken) {
                    place.copy_from_slice(head);
                }
                self.have += taken;
                data = rest;
                if self.have < HEADER {
                    return;
                }
                self.begin();
            } else {
                let taken = data.len().min(self.missing);
                self.missing -= taken;
                data = data.get(taken..).unwrap_or_default();
            }
            if self.missing == 0 {
                self.ready += 1;
                self.have = 0;
            }
        }
    }

    /// The header is complete.
    fn begin(&mut self) {
        let [kind, major, _, high, low] = self.header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=24).contains(&kind) || major != 3 || length > LARGEST {
            self.strange = true;
        }
        self.missing = length;
        self.largest = self.largest.max(length + HEADER);
        self.whole = self.whole.saturating_add(length);
    }

    /// Whether OpenSSL may have something to say.
    #[inline]
    pub const fn any(&self) -> bool {
        self.ready > 0 || self.unknown || self.strange
    }

    /// A size that the next record fits in.
    #[inline]
    pub const fn size(&self) -> usize {
        if self.unknown || self.strange {
            1 << 14
        } else {
            self.largest
        }
    }

    /// How many are complete, if that is known, and a size that all of them fit in.
    #[inline]
    pub const fn complete(&self) -> (usize, usize) {
        if self.unknown || self.strange {
            (0, 0)
        } else {
            (self.ready, self.whole)
        }
    }

    /// OpenSSL gave us one.
    #[inline]
    pub fn took_one(&mut self) {
        self.ready = self.ready.saturating_sub(1);
        self.forget_sizes();
    }

    /// OpenSSL has nothing more.
    #[inline]
    pub fn took_all(&mut self) {
        self.ready = 0;
        self.unknown = false;
        self.forget_sizes();
    }

    /// Once none is complete, only one that is on its way has a size.
    fn forget_sizes(&mut self) {
        if self.ready == 0 {
            let [.., high, low] = self.header;
            let coming = if self.have == HEADER {
                usize::from(u16::from_be_bytes([high, low]))
            } else {
                0
            };
            self.whole = coming;
            self.largest = if coming == 0 { 0 } else { coming + HEADER };
        }
    }

    /// Nobody has counted what OpenSSL took: it has to be asked until it has nothing more.
    pub fn lost_count(&mut self) {
        self.unknown = true;
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    fn record(length: u16) -> Vec<u8> {
        let mut record = vec![23, 3, 3];
        record.extend(length.to_be_bytes());
        record.extend(std::iter::repeat_n(7, usize::from(length)));
        record
    }

    #[test]
    fn counts_records_however_they_come() {
        let stream: Vec<u8> = [record(10), record(0), record(300)].concat();
        for size in 1..stream.len() {
            let mut records = Records::default();
            for piece in stream.chunks(size) {
                records.feed(piece);
            }
            for _ in 0..3 {
                assert!(records.any());
                assert!(records.size() >= 305);
                records.took_one();
            }
            assert!(!records.any());
        }
    }

    #[test]
    fn all_that_are_complete_fit_in_what_is_said() {
        let mut records = Records::default();
        records.feed(&[record(100), record(30), record(500)[..7].to_vec()].concat());
        let (count, size) = records.complete();
        assert_eq!(count, 2);
        assert!(size >= 130);
        records.took_one();
        records.took_one();
        assert_eq!(records.complete().0, 0);
        // Of the third the rest comes, and a fourth.
        records.feed(&[record(500)[7..].to_vec(), record(20)].concat());
        let (count, size) = records.complete();
        assert_eq!(count, 2);
        assert!((520..600).contains(&size), "{size}");
        records.took_all();
        records.feed(&record(9));
        assert_eq!(records.complete(), (1, 9));
        records.lost_count();
        assert_eq!(records.complete(), (0, 0));
    }

    #[test]
    fn a_part_of_a_record_is_none() {
        let mut records = Records::default();
        records.feed(&record(100)[..104]);
        assert!(!records.any());
        records.feed(&[0]);
        assert!(records.any());
    }

    #[test]
    fn what_is_no_tls_is_for_openssl_to_say() {
        let mut records = Records::default();
        records.feed(b"GET / HTTP/1.1\r\n");
        assert!(records.any());
        records.took_all();
        assert!(records.any());
    }

    #[test]
    fn after_the_handshake_openssl_is_asked_once() {
        let mut records = Records::default();
        records.feed(&record(100));
        records.lost_count();
        assert!(records.any());
        records.took_all();
        assert!(!records.any());
        records.feed(&record(1)[..3]);
        assert!(!records.any());
    }
}
