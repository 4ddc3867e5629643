//! Webhooks of other software on our bots. A bot may already have one when it connects, and its owner may set it again and again;
//! after a few replacements the operator stops replacing it and reports the bot as contested.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::identity::ConnectorUid;

/// Replacements within [`WINDOW`] after which the bot counts as having two owners (API.md, Status).
const MAX_REPLACEMENTS: usize = 3;
const WINDOW: Duration = Duration::from_hours(1);

/// Whether this operator set the webhook for the connector, under the present or an earlier `--public-url`: only we know the uid in
/// the path.
pub(crate) fn is_ours(webhook: &str, connector: &ConnectorUid) -> bool {
    Url::parse(webhook).is_ok_and(|url| url.path().ends_with(&format!("/telegram/{connector}")))
}

/// The host of a webhook's URL: enough to find its owner. The path is left out, since it may hold a secret.
pub(crate) fn host(webhook: &str) -> String {
    Url::parse(webhook)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "an unknown host".to_owned())
}

/// The times at which another owner replaced our webhook.
#[derive(Debug, Default)]
pub(super) struct ReplacementCounter(VecDeque<Instant>);

impl ReplacementCounter {
    /// Records a replacement at `now`. Returns true when there were more than [`MAX_REPLACEMENTS`] within [`WINDOW`].
    pub(super) fn record(&mut self, now: Instant) -> bool {
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
    fn own_webhook_is_known_by_its_path_at_any_address() {
        let uid = ConnectorUid::from("0b1c");
        assert!(is_ours("https://bots.acme.example/telegram/0b1c", &uid));
        assert!(is_ours("https://old.example/base/telegram/0b1c", &uid));
        assert!(!is_ours("https://bots.acme.example/telegram/other", &uid));
        assert!(!is_ours("https://evil.example/?x=/telegram/0b1c", &uid));
        assert!(!is_ours("nonsense", &uid));
        assert_eq!(host("https://n8n.example:8443/hook/SECRET"), "n8n.example");
    }

    #[tokio::test]
    async fn fourth_replacement_within_an_hour_is_a_contest() {
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
