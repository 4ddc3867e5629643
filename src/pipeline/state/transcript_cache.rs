//! Transcripts and texts of files that further attempts at an answer need again.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::identity::BotId;

/// Words kept for further attempts, in memory alone: after a restart a file is fetched once more.
#[derive(Debug, Default)]
pub(crate) struct TranscriptCache(Mutex<VecDeque<((BotId, i64), String)>>);

/// How much is kept, in bytes.
const MAX_CACHED_BYTES: usize = 4 << 20;

impl TranscriptCache {
    /// The text of a bot's update, if it is kept.
    pub(crate) fn get(&self, at: (BotId, i64)) -> Option<String> {
        let kept = self.0.lock();
        kept.iter()
            .find(|(key, _)| *key == at)
            .map(|(_, words)| words.clone())
    }

    /// Keeps a text; the oldest go when there are too many bytes.
    pub(crate) fn insert(&self, at: (BotId, i64), words: String) {
        let mut kept = self.0.lock();
        kept.push_back((at, words));
        while kept.len() > 1
            && kept.iter().map(|(_, words)| words.len()).sum::<usize>() > MAX_CACHED_BYTES
        {
            kept.pop_front();
        }
    }

    /// The message is done with.
    pub(crate) fn remove(&self, at: (BotId, i64)) {
        let mut kept = self.0.lock();
        kept.retain(|(key, _)| *key != at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_cache_is_bounded() {
        let cache = TranscriptCache::default();
        for update in 0..10 {
            cache.insert((BotId(1), update), "x".repeat(1 << 20));
        }
        assert!(cache.get((BotId(1), 9)).is_some());
        assert!(cache.get((BotId(1), 0)).is_none());
        cache.remove((BotId(1), 9));
        assert!(cache.get((BotId(1), 9)).is_none());
    }
}
