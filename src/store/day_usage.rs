//! What is asked of an assistant in a day, where its connector limits that: counted once, by all processes of the store together.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// The sender whose count is that of all.
const ALL_SENDERS: i64 = 0;

/// How much may be asked in a day; `None`: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayLimit {
    /// Questions.
    pub messages: Option<u64>,
    /// Tokens, as the assistant reports them. An answer that goes beyond is the last.
    pub tokens: Option<u64>,
}

impl DayLimit {
    fn is_set(&self) -> bool {
        self.messages.is_some() || self.tokens.is_some()
    }
}

/// A limit that lets no more be asked today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReachedLimit {
    /// `limits.messagesPerDay`, of one user.
    UserMessages,
    /// `limits.tokensPerDay`, of one user.
    UserTokens,
    /// `limits.connector.messagesPerDay`.
    ConnectorMessages,
    /// `limits.connector.tokensPerDay`.
    ConnectorTokens,
}

impl ReachedLimit {
    /// Its field in `spec`.
    pub fn field(self) -> &'static str {
        match self {
            Self::UserMessages => "limits.messagesPerDay",
            Self::UserTokens => "limits.tokensPerDay",
            Self::ConnectorMessages => "limits.connector.messagesPerDay",
            Self::ConnectorTokens => "limits.connector.tokensPerDay",
        }
    }

    /// In snake case: the metric label `limit`.
    pub fn label(self) -> &'static str {
        match self {
            Self::UserMessages => "user_messages",
            Self::UserTokens => "user_tokens",
            Self::ConnectorMessages => "connector_messages",
            Self::ConnectorTokens => "connector_tokens",
        }
    }

    /// Whether it is reached for all users.
    pub(crate) fn is_of_all(self) -> bool {
        matches!(self, Self::ConnectorMessages | Self::ConnectorTokens)
    }
}

/// A question that is about to be asked, and the limits it is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitedQuestion {
    /// [`super::Claim::connector`].
    pub connector: i64,
    /// Who asks; `None`: nobody with an id, so that only the limits of all hold.
    pub user: Option<i64>,
    /// The date, in days since 1970-01-01.
    pub day: i64,
    /// The message that asks ([`super::WaitingMessage::id`]): it is counted once, however often it is asked.
    pub message: i64,
    /// What one user may ask.
    pub user_limit: DayLimit,
    /// What all may.
    pub connector_limit: DayLimit,
}

/// Tokens of an answer that count for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCount {
    /// The message that was answered ([`super::WaitingMessage::id`]): nothing is counted once it has left the inbox.
    pub message: i64,
    /// [`super::Claim::connector`].
    pub(super) connector: i64,
    /// Whose: users, or all.
    pub(super) senders: Vec<i64>,
    pub(super) day: i64,
    /// How many.
    pub(super) tokens: i64,
}

/// What was counted in a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DayUsage {
    pub(super) messages: i64,
    pub(super) tokens: i64,
}

impl LimitedQuestion {
    /// The tokens of its answer, as a change to its lane; `None` where no limit counts them.
    pub fn token_count(&self, tokens: u64) -> Option<TokenCount> {
        let senders = self.senders(|limit| limit.tokens.is_some());
        (tokens > 0 && !senders.is_empty()).then(|| TokenCount {
            message: self.message,
            connector: self.connector,
            senders,
            day: self.day,
            tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        })
    }

    /// Whether a limit counts questions.
    pub(super) fn counts_messages(&self) -> bool {
        !self.senders_of_messages().is_empty()
    }

    /// Whose questions are counted.
    pub(super) fn senders_of_messages(&self) -> Vec<i64> {
        self.senders(|limit| limit.messages.is_some())
    }

    fn senders(&self, counts: impl Fn(&DayLimit) -> bool) -> Vec<i64> {
        let all = counts(&self.connector_limit).then_some(ALL_SENDERS);
        let user = self.user.filter(|_| counts(&self.user_limit));
        all.into_iter().chain(user).collect()
    }

    /// The values of [`READ_USAGE`].
    pub(super) fn values(&self) -> (i64, i64, i64, i64) {
        let user = self.user.filter(|_| self.user_limit.is_set());
        let user = user.unwrap_or(ALL_SENDERS);
        (self.connector, self.day, user, self.message)
    }

    /// The limit that lets it not be asked, after what was counted of its user and of all.
    pub(super) fn reached(&self, user: DayUsage, all: DayUsage) -> Option<ReachedLimit> {
        let is_used_up = |limit: Option<u64>, used: i64| {
            limit.is_some_and(|limit| used.max(0).unsigned_abs() >= limit)
        };
        let of_user = self.user.map(|_| self.user_limit).unwrap_or_default();
        let of_all = self.connector_limit;
        [
            (of_user.messages, user.messages, ReachedLimit::UserMessages),
            (of_user.tokens, user.tokens, ReachedLimit::UserTokens),
            (
                of_all.messages,
                all.messages,
                ReachedLimit::ConnectorMessages,
            ),
            (of_all.tokens, all.tokens, ReachedLimit::ConnectorTokens),
        ]
        .into_iter()
        .find_map(|(limit, used, reached)| is_used_up(limit, used).then_some(reached))
    }

    /// What becomes of it, from a row of [`READ_USAGE`]; without one its message is gone, and whoever asks is told when writing.
    pub(super) fn verdict(&self, row: Option<[i64; 5]>) -> Verdict {
        let Some(
            [
                counted,
                user_messages,
                user_tokens,
                all_messages,
                all_tokens,
            ],
        ) = row
        else {
            return Verdict::CountedBefore;
        };
        if counted != 0 {
            return Verdict::CountedBefore;
        }
        let user = DayUsage {
            messages: user_messages,
            tokens: user_tokens,
        };
        let all = DayUsage {
            messages: all_messages,
            tokens: all_tokens,
        };
        self.reached(user, all)
            .map_or(Verdict::Counts, Verdict::Refused)
    }
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is asked, and was counted.
    CountedBefore,
    /// It is asked, and counts.
    Counts,
    Refused(ReachedLimit),
}

impl Verdict {
    /// The limit that lets it not be asked.
    pub(super) fn refusal(self) -> Option<ReachedLimit> {
        match self {
            Self::Refused(reached) => Some(reached),
            Self::CountedBefore | Self::Counts => None,
        }
    }
}

/// Whether the message `$4` was counted, and what was of the connector `$1` on the day `$2`: messages and tokens of the sender `$3`, and of all.
/// Its values come in the order in which they are named first: `SQLite` numbers them so.
pub(super) const READ_USAGE: &str =
    "SELECT i.counted, coalesce(u.messages, 0), coalesce(u.tokens, 0), coalesce(a.messages, 0), coalesce(a.tokens, 0)
     FROM inbox i LEFT JOIN day_usage u ON u.connector = $1 AND u.day = $2 AND u.sender = $3
     LEFT JOIN day_usage a ON a.connector = $1 AND a.day = $2 AND a.sender = 0 WHERE i.id = $4";

/// Counts a question of the connector `$1` and the sender `$2` on the day `$3`.
pub(super) const COUNT_MESSAGE: &str =
    "INSERT INTO day_usage (connector, sender, day, messages) VALUES ($1, $2, $3, 1)
     ON CONFLICT (connector, sender, day) DO UPDATE SET messages = day_usage.messages + 1";

/// Notes that the message `$1` is counted.
pub(super) const MARK_COUNTED: &str = "UPDATE inbox SET counted = 1 WHERE id = $1";

/// Counts `$4` tokens of the connector `$1` and the sender `$2` on the day `$3`, while the message `$5` waits: not twice, and not of who was erased.
pub(super) const COUNT_TOKENS: &str =
    "INSERT INTO day_usage (connector, sender, day, tokens)
     SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT) WHERE EXISTS (SELECT 1 FROM inbox WHERE id = $5)
     ON CONFLICT (connector, sender, day) DO UPDATE SET tokens = day_usage.tokens + excluded.tokens";

/// What is counted of days.
#[async_trait]
pub trait DayUsageStore: Send + Sync + 'static {
    /// The limit that lets a question not be asked now; `None`: it may be, or was counted before. Reads only.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn reached_limit(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError>;

    /// Counts a question that is being asked, once; or says which limit lets it not be asked, and counts nothing.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was counted, or it was and is not counted again.
    async fn count_question(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(user: Option<i64>) -> LimitedQuestion {
        LimitedQuestion {
            connector: 1,
            user,
            day: 20_000,
            message: 5,
            user_limit: DayLimit {
                messages: Some(2),
                tokens: Some(100),
            },
            connector_limit: DayLimit {
                messages: Some(3),
                tokens: None,
            },
        }
    }

    #[test]
    fn first_limit_that_is_used_up_refuses() {
        let reached = |user, row| question(user).verdict(Some(row)).refusal();
        let ann = Some(7);
        assert_eq!(reached(ann, [0, 1, 99, 2, 5_000]), None);
        assert_eq!(
            reached(ann, [0, 2, 0, 2, 0]),
            Some(ReachedLimit::UserMessages)
        );
        assert_eq!(
            reached(ann, [0, 1, 100, 3, 0]),
            Some(ReachedLimit::UserTokens)
        );
        assert_eq!(
            reached(ann, [0, 1, 0, 3, 0]),
            Some(ReachedLimit::ConnectorMessages)
        );
        assert_eq!(reached(ann, [1, 9, 999, 9, 0]), None, "counted before");
        assert_eq!(reached(None, [0, 9, 999, 2, 0]), None, "nobody's own limit");
        assert_eq!(question(ann).verdict(None).refusal(), None, "it is gone");
    }

    #[test]
    fn only_what_is_limited_is_counted() {
        assert_eq!(question(Some(7)).senders_of_messages(), [0, 7]);
        assert_eq!(question(None).senders_of_messages(), [0]);
        let tokens = question(Some(7)).token_count(30).expect("tokens");
        assert_eq!((tokens.senders, tokens.tokens), (vec![7], 30));
        assert_eq!(question(None).token_count(30), None);
        assert_eq!(question(Some(7)).token_count(0), None);
    }
}
