//! Which parts Telegram has taken, written down by whoever sent them in the moment that they know: without the writer, its batches and its
//! queue, so that a process that is killed leaves next to nothing unsaid.
//!
//! The journal is in the file that the claimant keeps locked. It is not synced: a kill does not take back what was written, and after a loss
//! of power a part may appear twice. Whoever takes over the lanes of a claimant that is gone reads it first.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

/// A record: lane, reply, number and checksum, little-endian. Before that of a part whose message matters there is one with the message's id below zero in
/// the place of the lane; a version that does not know it finds no such lane.
const RECORD_BYTES: usize = 24;
/// A journal that is as long is written anew, with what is not settled.
const MAX_BYTES: u64 = 1 << 20;

/// A part of a reply that Telegram has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SentPart {
    pub(super) lane: i64,
    pub(super) reply: i64,
    pub(super) number: u32,
}

/// A part that Telegram has taken, as which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentRecord {
    pub(super) part: SentPart,
    /// Only of outgoing messages; `None`: not known.
    pub(super) message_id: Option<i64>,
}

impl SentRecord {
    fn to_bytes(self) -> Vec<u8> {
        let message = self.message_id.filter(|id| *id > 0).map(|id| SentPart {
            lane: -id,
            ..self.part
        });
        let records = message.into_iter().chain([self.part]);
        records.flat_map(SentPart::to_record).collect()
    }
}

impl SentPart {
    fn to_record(self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&self.lane.to_le_bytes());
        record[8..16].copy_from_slice(&self.reply.to_le_bytes());
        record[16..20].copy_from_slice(&self.number.to_le_bytes());
        let sum = checksum(&record[..20]);
        record[20..].copy_from_slice(&sum.to_le_bytes());
        record
    }

    /// `None`: the record was never written to its end.
    fn from_record(record: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (lane, rest) = record.split_first_chunk()?;
        let (reply, rest) = rest.split_first_chunk()?;
        let (number, sum) = rest.split_first_chunk()?;
        (sum == checksum(&record[..20]).to_le_bytes()).then_some(Self {
            lane: i64::from_le_bytes(*lane),
            reply: i64::from_le_bytes(*reply),
            number: u32::from_le_bytes(*number),
        })
    }
}

/// FNV-1a: zeros that a file system left are no record.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

/// The parts that this process has sent and that the database still holds.
#[derive(Default)]
pub(super) struct SentJournal(Mutex<Journal>);

#[derive(Default)]
struct Journal {
    /// `None`: no file could be made, or no claims are held.
    file: Option<Arc<File>>,
    length: u64,
    /// With the ids of their messages.
    unsettled: HashMap<SentPart, Option<i64>>,
}

impl SentJournal {
    /// Goes on in this file, which is empty.
    pub(super) fn begin(&self, file: Option<Arc<File>>) {
        let mut journal = self.0.lock();
        journal.file = file;
        journal.rewrite();
    }

    /// Writes down that a part was taken. Returns whether a kill cannot undo it.
    pub(super) fn record(&self, sent: SentRecord) -> bool {
        let mut journal = self.0.lock();
        journal.unsettled.insert(sent.part, sent.message_id);
        if journal.length >= MAX_BYTES {
            journal.rewrite();
            return journal.file.is_some();
        }
        let length = journal.length;
        let Some(file) = &journal.file else {
            return false;
        };
        let bytes = sent.to_bytes();
        if file.write_all_at(&bytes, length).is_err() {
            // Perhaps a half of it: the next one is written over it.
            return false;
        }
        journal.length += bytes.len() as u64;
        true
    }

    /// What is known of a part that was taken, as far as the database does not say so itself.
    pub(super) fn find(&self, part: SentPart) -> Option<SentRecord> {
        let message_id = self.0.lock().unsettled.get(&part).copied()?;
        Some(SentRecord { part, message_id })
    }

    /// The database says so by now.
    pub(super) fn settle(&self, parts: &[SentPart]) {
        let mut journal = self.0.lock();
        for part in parts {
            journal.unsettled.remove(part);
        }
    }

    /// Forgets what was sent in lanes that are gone, in the file too.
    pub(super) fn drop_lanes(&self, lanes: &[i64]) {
        let mut journal = self.0.lock();
        journal
            .unsettled
            .retain(|part, _| !lanes.contains(&part.lane));
        journal.rewrite();
    }

    /// What the database does not say yet.
    pub(super) fn unsettled(&self) -> Vec<SentRecord> {
        self.0.lock().records()
    }
}

impl Journal {
    fn records(&self) -> Vec<SentRecord> {
        let unsettled = self.unsettled.iter();
        unsettled
            .map(|(part, message_id)| SentRecord {
                part: *part,
                message_id: *message_id,
            })
            .collect()
    }

    /// Writes what is not settled over what is there, and then cuts off the rest: of a process that is killed between the two, old records are
    /// left, which say nothing wrong.
    fn rewrite(&mut self) {
        self.length = 0;
        let Some(file) = &self.file else { return };
        let records: Vec<u8> = self
            .records()
            .into_iter()
            .flat_map(SentRecord::to_bytes)
            .collect();
        let length = records.len() as u64;
        let written = file.write_all_at(&records, 0);
        if written.and_then(|()| file.set_len(length)).is_ok() {
            self.length = length;
        } else {
            self.file = None;
        }
    }
}

/// What a claimant that is gone has written down. A file that is not there or cannot be read says nothing.
pub(super) fn read(path: &Path) -> Vec<SentRecord> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let (records, _) = bytes.as_chunks();
    let mut message_ids = HashMap::new();
    let mut sent = Vec::new();
    for part in records.iter().filter_map(SentPart::from_record) {
        if part.lane < 0 {
            message_ids.insert((part.reply, part.number), -part.lane);
        } else {
            let message_id = message_ids.get(&(part.reply, part.number)).copied();
            sent.push(SentRecord { part, message_id });
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(reply: i64) -> SentPart {
        SentPart {
            lane: 7,
            reply,
            number: 1,
        }
    }

    fn sent(reply: i64) -> SentRecord {
        SentRecord {
            part: part(reply),
            // Below zero there are outgoing messages.
            message_id: (reply < 0).then_some(900 - reply),
        }
    }

    fn journal() -> (tempfile::NamedTempFile, SentJournal) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let journal = SentJournal::default();
        let handle = file.reopen().expect("the same file");
        journal.begin(Some(Arc::new(handle)));
        (file, journal)
    }

    #[test]
    fn what_was_recorded_is_read_by_the_next_process() {
        let (file, journal) = journal();
        assert!(journal.record(sent(1)) && journal.record(sent(-2)));
        assert_eq!(read(file.path()), [sent(1), sent(-2)]);
        assert_eq!(journal.find(part(-2)), Some(sent(-2)));
        assert_eq!(journal.find(part(3)), None);
    }

    #[test]
    fn torn_and_empty_records_say_nothing() {
        let (file, journal) = journal();
        journal.record(sent(1));
        let mut bytes = std::fs::read(file.path()).expect("the journal");
        bytes.extend([0; RECORD_BYTES]);
        bytes.extend(&part(2).to_record()[..RECORD_BYTES - 1]);
        std::fs::write(file.path(), bytes).expect("written");
        assert_eq!(read(file.path()), [sent(1)]);
    }

    #[test]
    fn journal_stays_short_and_keeps_what_is_not_settled() {
        let (file, journal) = journal();
        journal.record(sent(-1));
        for reply in 0..100_000 {
            assert!(journal.record(sent(reply)));
            journal.settle(&[part(reply)]);
        }
        let length = file.as_file().metadata().expect("the journal").len();
        assert!(length <= MAX_BYTES + RECORD_BYTES as u64, "{length}");
        assert!(read(file.path()).contains(&sent(-1)));
        assert_eq!(journal.unsettled(), [sent(-1)]);
    }

    #[test]
    fn lanes_that_are_gone_leave_the_file() {
        let (file, journal) = journal();
        let gone = SentPart { lane: 8, ..part(1) };
        journal.record(SentRecord {
            part: gone,
            message_id: None,
        });
        journal.record(sent(2));
        journal.drop_lanes(&[8]);
        assert_eq!(read(file.path()), [sent(2)]);
        assert_eq!(journal.unsettled(), [sent(2)]);
    }

    #[test]
    fn next_file_begins_with_what_is_not_settled() {
        let (_first, journal) = journal();
        journal.record(sent(1));
        let second = tempfile::NamedTempFile::new().expect("a file");
        journal.begin(Some(Arc::new(second.reopen().expect("the same file"))));
        assert_eq!(read(second.path()), [sent(1)]);
    }

    #[test]
    fn without_a_file_nothing_is_promised() {
        let journal = SentJournal::default();
        assert!(!journal.record(sent(1)));
        assert!(journal.find(part(1)).is_some());
    }
}
