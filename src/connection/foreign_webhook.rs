//! Whose webhook is it? A bot may come to us with somebody else's webhook, and somebody else may keep setting it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::identity::ConnectorUid;

/// Replacements within [`WINDOW`] after which the bot counts as having two owners (API.md, Status).
const MAX_REPLACEMENTS: usize = 3;
const WINDOW: Duration = Duration::from_hours(1);

/// Whether a webhook's URL is one that this operator (in this or an earlier mode, at this or an earlier address) set for the
/// connector: its path ends as ours do, and a uid is not guessed.
pub fn is_ours(webhook: &str, connector: &ConnectorUid) -> bool {
    Url::parse(webhook).is_ok_and(|url| url.path().ends_with(&format!("/telegram/{connector}")))
}

/// The host of a webhook's URL: enough to find its owner, and no secret that its path may hold.
pub fn host(webhook: &str) -> String {
    Url::parse(webhook)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "an unknown host".to_owned())
}

/// Counts how often somebody else replaced what we had set.
#[derive(Debug, Default)]
pub struct ReplacementCounter(VecDeque<Instant>);

impl ReplacementCounter {
    /// Notes a replacement; true if there were more than three within an hour: stop fighting.
    pub fn record(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|then| now - *then > WINDOW) {
            self.0.pop_front();
        }
        self.0.len() > MAX_REPLACEMENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_known_by_its_path_under_any_address() {
        let uid = ConnectorUid::from("0b1c");
        assert!(is_ours("https://bots.acme.example/telegram/0b1c", &uid));
        assert!(is_ours("https://old.example/base/telegram/0b1c", &uid));
        assert!(!is_ours("https://bots.acme.example/telegram/other", &uid));
        assert!(!is_ours("https://evil.example/?x=/telegram/0b1c", &uid));
        assert!(!is_ours("nonsense", &uid));
        assert_eq!(host("https://n8n.example:8443/hook/SECRET"), "n8n.example");
    }

    #[tokio::test]
    async fn the_fourth_replacement_within_an_hour_is_a_contest() {
        let start = Instant::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        let mut replacements = ReplacementCounter::default();
        assert!(!replacements.record(at(0)));
        assert!(!replacements.record(at(1)));
        assert!(!replacements.record(at(2)));
        assert!(replacements.record(at(3)));
        let mut slow = ReplacementCounter::default();
        for i in 0..20 {
            assert!(!slow.record(at(i * 21)), "every 21 minutes is bearable");
        }
    }
}
