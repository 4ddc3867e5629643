//! The registry: what the controller resolved, for everybody who handles messages. The controller writes, all others read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::api::connector::{AccessLevel, RespondTo, RichMessages, SpeechOccasion};
use crate::assistant::{Assistant, Extractor, Speaker, Transcriber};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::identity_provider::SignInProvider;
use crate::store::DayLimit;
use crate::telegram::Bot;

/// One connector with everything looked up: an immutable value that a message is handled by from beginning to end.
#[derive(Debug, Clone)]
pub struct ResolvedConnector {
    /// Which connector it is.
    pub connector_ref: ConnectorRef,
    /// The `metadata.generation` it was resolved from.
    pub generation: i64,
    /// The Bot API with this connector's token.
    pub bot: Bot,
    /// The bot's username without @, for mentions and commands in groups.
    pub bot_username: Arc<str>,
    /// The bot's name for people.
    pub bot_name: Arc<str>,
    /// `spec.displayName`.
    pub display_name: Option<Arc<str>>,
    /// Who may write.
    pub access: AccessPolicy,
    /// Whether denied messages are stored.
    pub save_denied_conversations: bool,
    /// What a denied user is told.
    pub denied_reply: DeniedReply,
    /// How long a session lasts and how much of it is sent.
    pub session: SessionPolicy,
    /// What answers bring beside their text, and what of one shows while it is on its way.
    pub answers: AnswerPolicy,
    /// Groups; `None`: silent there.
    pub groups: Option<GroupPolicy>,
    /// The answer to `/start`; `None`: the default text.
    pub greeting: Option<Arc<str>>,
    /// Messages per minute and user.
    pub messages_per_minute: u32,
    /// What may be asked in a day; `None`: nothing is counted.
    pub day_limits: Option<DayLimits>,
    /// Chats in work at once, in this process.
    pub concurrency: u16,
    /// Who answers. `None` while its key is missing: permitted messages wait in the inbox.
    pub assistant: Option<Arc<dyn Assistant>>,
    /// Who writes voice messages down.
    pub transcription: Transcription,
    /// Who reads answers out.
    pub speech: Speech,
    /// Who approves what the assistant asks; `None`: whoever asked the assistant.
    pub approvals: Option<ApprovalPolicy>,
    /// How denied users ask for access; `None`: they cannot.
    pub requests: Option<RequestPolicy>,
    /// How documents reach the assistant.
    pub files: FilePolicy,
    /// Messages that others may send through the bot in a minute; `None`: none.
    pub sending_per_minute: Option<u32>,
    /// Sign-in with the company account; `None`: there is none, or it is not what decides.
    pub sign_in: Option<SignInPolicy>,
}

/// How members of the company are recognized (`spec.access.companyUsers.oidc`), at level Company.
#[derive(Debug, Clone)]
pub struct SignInPolicy {
    /// The identity provider.
    pub provider: Arc<dyn SignInProvider>,
    /// After so long it is asked again whether somebody is a member.
    pub recheck: std::time::Duration,
    /// For so long after a recheck is due, a provider that cannot be reached ends nobody's access.
    pub grace: std::time::Duration,
}

/// The same provider, asked as often.
impl PartialEq for SignInPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider)
            && self.recheck == other.recheck
            && self.grace == other.grace
    }
}

/// What may be asked of the assistant in a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayLimits {
    /// By one user.
    pub user: DayLimit,
    /// By all together.
    pub connector: DayLimit,
    /// At whose midnight a day ends.
    pub zone: TimeZone,
}

impl DayLimits {
    /// Whether a limit counts the tokens that the assistant reports.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.user.tokens.is_some() || self.connector.tokens.is_some()
    }
}

/// How long an approval waits where nothing else is said.
pub(crate) const DEFAULT_APPROVAL_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(30);

/// Who approves what an assistant asks, where and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPolicy {
    /// Only these; `None`: whoever asked the assistant.
    pub approvers: Option<AccessPolicy>,
    /// After so long an approval is refused.
    pub timeout: std::time::Duration,
    /// Where they are asked; `None`: in the chat.
    pub chat: Option<ApprovalChat>,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self {
            approvers: None,
            timeout: DEFAULT_APPROVAL_TIMEOUT,
            chat: None,
        }
    }
}

/// The group of the approvers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalChat {
    /// Its id.
    pub id: i64,
    /// The topic in it; 0: none.
    pub topic: i64,
}

/// How denied users ask for access (`spec.access.requests`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPolicy {
    /// Where the approvers are asked.
    pub notify: ApprovalChat,
    /// Only these decide.
    pub approvers: AccessPolicy,
    /// For so many days the button Allow grants access; `None`: without end.
    pub grant_days: Option<u32>,
    /// How often a user may ask within 24 hours.
    pub per_user_per_day: u32,
}

/// Who reads answers out (`spec.speech`), and which.
#[derive(Debug, Clone, Default)]
pub struct Speech {
    /// Who.
    pub service: OptionalService<Speaker>,
    /// Which answers; without meaning where there is no service.
    pub occasion: SpeechOccasion,
}

/// How documents that people send reach the assistant.
#[derive(Debug, Clone, Default)]
pub struct FilePolicy {
    /// Who extracts their words.
    pub extraction: Extraction,
    /// They go to the assistant as they are.
    pub to_assistant: bool,
    /// The biggest that is read, in bytes.
    pub max_bytes: u64,
}

/// A service that a connector may name beside its assistant.
#[derive(Debug, Default)]
pub enum OptionalService<T> {
    /// It names none.
    #[default]
    None,
    /// This server.
    Ready(Arc<T>),
    /// None at present, and why; no key in it.
    Unavailable(Arc<str>),
}

/// Who writes voice messages down (`spec.transcription`).
pub type Transcription = OptionalService<Transcriber>;

/// Who extracts the words of documents (`spec.files.extract`).
pub type Extraction = OptionalService<Extractor>;

impl<T> Clone for OptionalService<T> {
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Ready(service) => Self::Ready(service.clone()),
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
        }
    }
}

impl<T> OptionalService<T> {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Ready(a), Self::Ready(b)) => Arc::ptr_eq(a, b),
            (Self::Unavailable(a), Self::Unavailable(b)) => a == b,
            _ => false,
        }
    }
}

impl ResolvedConnector {
    /// Whether messages would be handled just the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_assistant = match (&self.assistant, &other.assistant) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same_assistant
            && self.transcription.is_same(&other.transcription)
            && self.files.extraction.is_same(&other.files.extraction)
            && self.speech.service.is_same(&other.speech.service)
            && self.speech.occasion == other.speech.occasion
            && self.connector_ref == other.connector_ref
            && self.generation == other.generation
            && self.bot.is_same(&other.bot)
            && self.bot_username == other.bot_username
            && self.bot_name == other.bot_name
            && self.access == other.access
            && self.approvals == other.approvals
            && self.sign_in == other.sign_in
            && self.requests == other.requests
    }
}

/// The one list that decides, resolved. Fails closed: what it does not name is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicy {
    /// The level.
    pub level: AccessLevel,
    /// Users by id.
    pub ids: Arc<HashSet<i64>>,
    /// Users by username, lower case, without @.
    pub usernames: Arc<HashSet<String>>,
    /// When access ends, for those of whom it does.
    pub ends: Arc<AccessEnds>,
    /// A grant in the store is an entry of the list, too.
    pub takes_grants: bool,
}

/// From when on users of a list are no longer named by it. Who is in neither map is named without an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessEnds {
    /// By id.
    pub ids: HashMap<i64, Timestamp>,
    /// By username, as the list has it.
    pub usernames: HashMap<String, Timestamp>,
}

/// What a denied user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeniedReply {
    /// The default text in the user's language, with their id.
    Default,
    /// Nothing.
    Silent,
    /// This.
    Text(Arc<str>),
}

/// How long a session lasts and how much of it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// When it ends.
    pub duration: SessionDuration,
    /// How many messages of history a request carries, 2..=1000.
    pub max_messages: u32,
    /// How many tokens history and question may have together: what the system prompt leaves of `maxTokens`. `None`: any number.
    pub max_tokens: Option<u32>,
}

/// When a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionDuration {
    /// Each message stands alone.
    None,
    /// Only `/new` ends it.
    Infinite,
    /// So many hours after it began.
    Hours(u32),
}

/// What answers bring beside their text, and what of one shows while it is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPolicy {
    /// What the assistant says of its work is shown until its answer begins.
    pub progress: bool,
    /// Answers are shown while they are written.
    pub streaming: bool,
    /// The reaction that says that a message was received.
    pub receipt: Option<Arc<str>>,
    /// The biggest file that is sent, in bytes; `None`: none are.
    pub max_file_bytes: Option<usize>,
    /// A `buttons` block at the end of a model's answer becomes buttons.
    pub buttons: bool,
    /// When an answer is a rich message.
    pub rich: RichMessages,
}

impl Default for AnswerPolicy {
    fn default() -> Self {
        Self {
            progress: false,
            streaming: true,
            receipt: None,
            max_file_bytes: None,
            buttons: false,
            rich: RichMessages::Never,
        }
    }
}

/// How the bot behaves in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// What it answers.
    pub respond_to: RespondTo,
    /// Only these groups; `None`: any.
    pub chats: Option<HashSet<i64>>,
    /// How many messages before a mention go with it; 0: none.
    pub read_along: u16,
}

/// Resolved connectors by uid and by bot. Reads never wait; each publish swaps one snapshot.
#[derive(Debug)]
pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default, Clone)]
struct Snapshot {
    by_uid: HashMap<ConnectorUid, Arc<ResolvedConnector>>,
    by_bot: HashMap<BotId, ConnectorUid>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            snapshot: ArcSwap::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Registry {
    /// Puts a connector in, or replaces what was known of it. Nobody is notified if nothing is different.
    pub fn publish(&self, resolved: Arc<ResolvedConnector>) {
        let known = self.get(&resolved.connector_ref.uid);
        if known.is_some_and(|known| known.is_same(&resolved)) {
            return;
        }
        let uid = resolved.connector_ref.uid.clone();
        let bot = resolved.bot.id();
        self.update_snapshot(|s| {
            if let Some(old) = s.by_uid.insert(uid.clone(), resolved.clone())
                && old.bot.id() != bot
                && s.by_bot.get(&old.bot.id()) == Some(&uid)
            {
                s.by_bot.remove(&old.bot.id());
            }
            s.by_bot.insert(bot, uid.clone());
        });
    }

    /// Takes a connector out: suspended, deleted, or no longer resolvable.
    pub fn withdraw(&self, uid: &ConnectorUid) {
        if self.get(uid).is_none() {
            return;
        }
        self.update_snapshot(|s| {
            if let Some(old) = s.by_uid.remove(uid) {
                let bot = old.bot.id();
                if s.by_bot.get(&bot) == Some(uid) {
                    s.by_bot.remove(&bot);
                }
            }
        });
    }

    /// The connector with this uid, if it may handle messages now.
    pub fn get(&self, uid: &ConnectorUid) -> Option<Arc<ResolvedConnector>> {
        self.snapshot.load().by_uid.get(uid).cloned()
    }

    /// The connector that owns this bot.
    pub fn by_bot(&self, bot: BotId) -> Option<Arc<ResolvedConnector>> {
        let snapshot = self.snapshot.load();
        snapshot
            .by_bot
            .get(&bot)
            .and_then(|uid| snapshot.by_uid.get(uid))
            .cloned()
    }

    /// All connectors that may handle messages now.
    pub fn all(&self) -> Vec<Arc<ResolvedConnector>> {
        self.snapshot.load().by_uid.values().cloned().collect()
    }

    /// Wakes at every change; the value only counts.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn update_snapshot(&self, edit: impl Fn(&mut Snapshot)) {
        self.snapshot.rcu(|old| {
            let mut new = Snapshot::clone(old);
            edit(&mut new);
            new
        });
        self.version.send_modify(|v| *v += 1);
    }
}
