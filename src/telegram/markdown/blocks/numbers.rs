//! The numbers of list items, which are those that were written.

/// The numbers of an ordered list: those that are written, unless all are the same (`1.` before each item).
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    first: u64,
    last: Option<u64>,
    all_same: bool,
}

impl From<u64> for Numbers {
    fn from(first: u64) -> Self {
        Self {
            first,
            last: None,
            all_same: true,
        }
    }
}

impl Numbers {
    pub(super) fn next(&mut self, written: Option<u64>) -> u64 {
        let counted = self.last.map_or(self.first, |last| last.saturating_add(1));
        self.all_same &= written.is_none_or(|written| written == self.first);
        let number = written.filter(|_| !self.all_same).unwrap_or(counted);
        self.last = Some(number);
        number
    }
}

/// The number that an item of an ordered list begins with.
pub(super) fn written_number(item: &str) -> Option<u64> {
    let item = item.trim_ascii_start();
    let digits = item.bytes().take(10).take_while(u8::is_ascii_digit).count();
    item[..digits].parse().ok()
}
