//! A message that somebody wants to send through a connector's bot: whether it may be, to whom, and into the outbox with it.
//!
//! It is bound by what binds answers: the connector is one that handles messages now, a person is one whom its access level names, a group is one in which
//! it speaks, and the bot has met the chat.

use std::time::Duration;

use crate::api::connector::AccessLevel;
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::message::incoming_update::Sender;
use crate::pipeline::send::render;
use crate::registry::{Registry, ResolvedConnector};
use crate::store::{
    CreateOutcome, MAX_PENDING, NewOutgoing, ObjectContent, ObjectKind, ObjectQuery,
    OutgoingMessage, Store, StoreError,
};
use crate::texts::texts_for;
use jiff::Timestamp;

/// The longest text, in bytes: about eight messages of Telegram's.
pub const MAX_TEXT_BYTES: usize = 32 << 10;
/// The longest idempotency key, in bytes.
pub const MAX_KEY_BYTES: usize = 253;

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub struct SendRequest {
    /// The connector's namespace.
    pub namespace: String,
    /// The connector's name.
    pub connector: String,
    /// The message's own name, unique in the namespace.
    pub name: String,
    /// To this chat; this or [`user`](Self::user).
    pub chat: Option<i64>,
    /// To this person.
    pub user: Option<i64>,
    /// In this topic.
    pub topic: Option<i64>,
    /// In Markdown: 1 to [`MAX_TEXT_BYTES`] bytes.
    pub text: String,
    /// Without a sound.
    pub silent: bool,
    /// Messages of a connector with the same key are one: 1 to [`MAX_KEY_BYTES`] bytes.
    pub idempotency_key: Option<String>,
    /// Everything is checked and nothing is sent.
    pub dry_run: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is durable and will be sent; of a dry run, it would be.
    Accepted(OutgoingMessage),
    /// It was asked for before with the same idempotency key, and is this.
    Known(OutgoingMessage),
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request cannot be done as it is.
    #[error(transparent)]
    Refused(#[from] SendRefusal),
    /// The store could not be asked, or did not answer: whether it is written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request is refused, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendRefusal {
    /// No connector of this name handles messages now.
    #[error(
        "no TelegramConnector {0} of this namespace handles messages now: it is not there, suspended, being deleted, or not ready; see kubectl describe tgc {0}"
    )]
    NoConnector(String),
    /// The connector does not allow it.
    #[error("TelegramConnector {0} does not allow sending: set spec.sending.perMinute in it")]
    SendingOff(String),
    /// Neither a chat nor a user, or both.
    #[error("name one of chat and user")]
    NotOneRecipient,
    /// No chat has this id.
    #[error("no chat has the id {0}")]
    NoChat(i64),
    /// No person has this id.
    #[error("no user has the id {0}: ids of users are above zero")]
    NoUser(i64),
    /// No topic has this id.
    #[error("no topic has the id {0}: ids of topics are above zero")]
    NoTopic(i64),
    /// The access level does not name the person.
    #[error(
        "access level {} does not name user {user} by id: who may not write to the bot is not written to; add the id to the list that decides", level.as_str()
    )]
    UserDenied {
        /// The person.
        user: i64,
        /// The level.
        level: AccessLevel,
    },
    /// The connector is silent in groups.
    #[error("the connector is silent in groups: set spec.groups in it")]
    GroupsOff,
    /// The connector names other groups.
    #[error("the connector does not speak in chat {0}: add it to spec.groups.chats")]
    GroupNotNamed(i64),
    /// The bot has not met the chat.
    #[error(
        "the bot has not met this chat: Telegram lets a bot write only where somebody has written to it, or where it was added; have that done once"
    )]
    NeverMet,
    /// There is nothing to say.
    #[error("says nothing: write at least one visible character")]
    EmptyText,
    /// There is too much to say.
    #[error("has {0} bytes, of which at most {MAX_TEXT_BYTES} can be sent")]
    TextTooLong(usize),
    /// A character that no store keeps.
    #[error("holds a NUL character: remove it")]
    NulCharacter(SendField),
    /// The key is no key.
    #[error("must have 1 to {MAX_KEY_BYTES} bytes")]
    BadKey,
    /// Another message has the idempotency key.
    #[error(
        "outgoing message {0} has this idempotency key and says something else: use another key"
    )]
    KeyOfAnother(String),
    /// Another message has the name.
    #[error("there is an outgoing message of this name already")]
    NameTaken,
    /// As many were sent as may be in a minute.
    #[error(
        "TelegramConnector {connector} may send {per_minute} messages a minute and has done so: try again later, or raise spec.sending.perMinute"
    )]
    TooMany {
        /// The connector.
        connector: String,
        /// How many it may.
        per_minute: u32,
        /// After so long there is room for one.
        retry_after: Duration,
    },
    /// Too many wait.
    #[error(
        "{MAX_PENDING} outgoing messages of the connector wait to be sent: see what holds them up before sending more"
    )]
    BacklogFull,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendField {
    /// The object's name.
    Name,
    /// `spec.connector`.
    Connector,
    /// `spec.to`.
    To,
    /// `spec.to.chat`.
    Chat,
    /// `spec.to.user`.
    User,
    /// `spec.to.topic`.
    Topic,
    /// `spec.text`.
    Text,
    /// `spec.idempotencyKey`.
    IdempotencyKey,
}

impl SendField {
    /// As a path in the object.
    pub fn path(self) -> &'static str {
        match self {
            Self::Name => "metadata.name",
            Self::Connector => "spec.connector",
            Self::To => "spec.to",
            Self::Chat => "spec.to.chat",
            Self::User => "spec.to.user",
            Self::Topic => "spec.to.topic",
            Self::Text => "spec.text",
            Self::IdempotencyKey => "spec.idempotencyKey",
        }
    }
}

impl SendRefusal {
    /// What it is about. A chat is named as `chat`, whichever way it was asked for.
    pub fn field(&self) -> SendField {
        match self {
            Self::NoConnector(_)
            | Self::SendingOff(_)
            | Self::GroupsOff
            | Self::TooMany { .. }
            | Self::BacklogFull => SendField::Connector,
            Self::NotOneRecipient | Self::NeverMet => SendField::To,
            Self::NoChat(_) | Self::GroupNotNamed(_) => SendField::Chat,
            Self::NoUser(_) | Self::UserDenied { .. } => SendField::User,
            Self::NoTopic(_) => SendField::Topic,
            Self::EmptyText | Self::TextTooLong(_) => SendField::Text,
            Self::NulCharacter(field) => *field,
            Self::BadKey | Self::KeyOfAnother(_) => SendField::IdempotencyKey,
            Self::NameTaken => SendField::Name,
        }
    }
}

/// More than a user has: one of each source.
const MAX_GRANTS: u32 = 10;

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recipient {
    chat: i64,
    /// The person whose private chat it is.
    user: Option<i64>,
}

/// Sends a message, or says why it is not sent. When this returns it is durable; it goes out in its turn.
///
/// # Errors
/// [`SendError`].
pub async fn send(
    registry: &Registry,
    store: &dyn Store,
    request: SendRequest,
    now: Timestamp,
) -> Result<SendOutcome, SendError> {
    check_words(&request)?;
    let found = registry.all().into_iter().find(|connector| {
        let named = &connector.connector_ref;
        *named.namespace == *request.namespace && *named.name == *request.connector
    });
    let name = &request.connector;
    let connector = found.ok_or_else(|| SendRefusal::NoConnector(name.clone()))?;
    let per_minute = connector
        .sending_per_minute
        .ok_or_else(|| SendRefusal::SendingOff(name.clone()))?;
    let is_granted = is_granted(&connector, store, &request, now).await?;
    let recipient = recipient(&connector, &request, is_granted, now)?;
    let as_rich = connector.answers.rich == crate::api::connector::RichMessages::WhenNeeded;
    let mut parts = render::markdown_parts(&request.text, texts_for(None), None, as_rich).await;
    if parts.is_empty() {
        return Err(SendRefusal::EmptyText.into());
    }
    for part in &mut parts {
        part.silent = request.silent;
    }
    let new = NewOutgoing {
        connector: connector.connector_ref.clone(),
        bot: connector.bot.id(),
        chat: recipient.chat,
        topic: request.topic.unwrap_or(0),
        user: recipient.user,
        name: request.name,
        idempotency_key: request.idempotency_key,
        text: request.text,
        silent: request.silent,
        parts,
        per_minute,
        dry_run: request.dry_run,
    };
    let refusal = match store.create_outgoing(new.clone()).await? {
        CreateOutcome::Created(created) => return Ok(SendOutcome::Accepted(*created)),
        CreateOutcome::SameKey(known) if known.says_the_same(&new) => {
            return Ok(SendOutcome::Known(*known));
        }
        CreateOutcome::SameKey(known) => SendRefusal::KeyOfAnother(known.name),
        CreateOutcome::NameTaken => SendRefusal::NameTaken,
        CreateOutcome::NeverMet => SendRefusal::NeverMet,
        CreateOutcome::BacklogFull => SendRefusal::BacklogFull,
        CreateOutcome::TooMany { retry_after } => SendRefusal::TooMany {
            connector: request.connector,
            per_minute,
            retry_after,
        },
    };
    Err(refusal.into())
}

/// What can be said of a request without knowing the connector.
fn check_words(request: &SendRequest) -> Result<(), SendRefusal> {
    if request.text.trim().is_empty() {
        return Err(SendRefusal::EmptyText);
    }
    if request.text.len() > MAX_TEXT_BYTES {
        return Err(SendRefusal::TextTooLong(request.text.len()));
    }
    if request.text.contains('\0') {
        return Err(SendRefusal::NulCharacter(SendField::Text));
    }
    if let Some(key) = &request.idempotency_key {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(SendRefusal::BadKey);
        }
        if key.contains('\0') {
            return Err(SendRefusal::NulCharacter(SendField::IdempotencyKey));
        }
    }
    match request.topic {
        Some(topic) if topic <= 0 => Err(SendRefusal::NoTopic(topic)),
        _ => Ok(()),
    }
}

/// Whether a grant lets in the user whom a request is for.
async fn is_granted(
    connector: &ResolvedConnector,
    store: &dyn Store,
    request: &SendRequest,
    now: Timestamp,
) -> Result<bool, SendError> {
    let user = request.user.or(request.chat).filter(|user| *user > 0);
    let Some(user) = user.filter(|_| connector.access.takes_grants) else {
        return Ok(false);
    };
    let named = &connector.connector_ref;
    let query = ObjectQuery {
        namespace: Some(named.namespace.to_string()),
        connector: Some(named.name.to_string()),
        user: Some(user),
        ..ObjectQuery::all(ObjectKind::AccessGrant)
    };
    let found = store.list_objects(&query, None, MAX_GRANTS).await?;
    Ok(found.objects.iter().any(|object| {
        matches!(&object.content, ObjectContent::AccessGrant(grant) if grant.is_valid(now))
    }))
}

/// Whom a request is for, if the connector may write to them. A private chat has its person's id: it is the person's, however it was named.
fn recipient(
    connector: &ResolvedConnector,
    request: &SendRequest,
    is_granted: bool,
    now: Timestamp,
) -> Result<Recipient, SendRefusal> {
    let user = match (request.chat, request.user) {
        (None, Some(user)) if user <= 0 => return Err(SendRefusal::NoUser(user)),
        (Some(0), None) => return Err(SendRefusal::NoChat(0)),
        (Some(chat), None) if chat < 0 => return group(connector, chat),
        (Some(user), None) | (None, Some(user)) => user,
        (Some(_), Some(_)) | (None, None) => return Err(SendRefusal::NotOneRecipient),
    };
    let person = Sender {
        id: user,
        is_bot: false,
        username: None,
        name: String::new(),
        language_code: None,
        is_granted,
    };
    match access::decide(&connector.access, Some(&person), now) {
        AccessDecision::Allowed => Ok(Recipient {
            chat: user,
            user: Some(user),
        }),
        AccessDecision::Denied => Err(SendRefusal::UserDenied {
            user,
            level: connector.access.level,
        }),
    }
}

fn group(connector: &ResolvedConnector, chat: i64) -> Result<Recipient, SendRefusal> {
    let groups = connector.groups.as_ref().ok_or(SendRefusal::GroupsOff)?;
    match &groups.chats {
        Some(chats) if !chats.contains(&chat) => Err(SendRefusal::GroupNotNamed(chat)),
        _ => Ok(Recipient { chat, user: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;
    use crate::api::connector::RespondTo;
    use crate::pipeline::decide::test_values;
    use crate::registry::GroupPolicy;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    const GROUP: i64 = -100_123;

    fn request(chat: Option<i64>, user: Option<i64>) -> SendRequest {
        SendRequest {
            chat,
            user,
            text: "hi".into(),
            ..SendRequest::default()
        }
    }

    fn connector_with(level: AccessLevel, chats: Option<&[i64]>) -> ResolvedConnector {
        test_values::connector(|connector| {
            connector.access.level = level;
            connector.access.ids = HashSet::from([42]).into();
            connector.groups = Some(GroupPolicy {
                respond_to: RespondTo::Mention,
                chats: chats.map(|chats| chats.iter().copied().collect()),
                read_along: 0,
            });
        })
    }

    #[rstest]
    #[case::named(None, Some(42), Ok(Recipient { chat: 42, user: Some(42) }))]
    #[case::named_as_chat(Some(42), None, Ok(Recipient { chat: 42, user: Some(42) }))]
    #[case::not_named(None, Some(7), Err(SendField::User))]
    #[case::not_named_as_chat(Some(7), None, Err(SendField::User))]
    #[case::listed_group(Some(GROUP), None, Ok(Recipient { chat: GROUP, user: None }))]
    #[case::other_group(Some(-5), None, Err(SendField::Chat))]
    #[case::no_chat(Some(0), None, Err(SendField::Chat))]
    #[case::no_user(None, Some(-42), Err(SendField::User))]
    #[case::both(Some(42), Some(42), Err(SendField::To))]
    #[case::none(None, None, Err(SendField::To))]
    fn recipients_are_those_who_may_write(
        #[case] chat: Option<i64>,
        #[case] user: Option<i64>,
        #[case] expected: Result<Recipient, SendField>,
        #[values(AccessLevel::Company, AccessLevel::AgentEnabled, AccessLevel::Specific)]
        level: AccessLevel,
    ) {
        let connector = connector_with(level, Some(&[GROUP]));
        let decided = recipient(&connector, &request(chat, user), false, NOW);
        assert_eq!(decided.map_err(|refusal| refusal.field()), expected);
    }

    #[test]
    fn anyone_and_any_group_is_written_to_where_so_allowed() {
        let mut connector = connector_with(AccessLevel::Open, None);
        assert!(recipient(&connector, &request(None, Some(7)), false, NOW).is_ok());
        assert!(recipient(&connector, &request(Some(-5), None), false, NOW).is_ok());
        connector.groups = None;
        let silent = recipient(&connector, &request(Some(-5), None), false, NOW);
        assert_eq!(silent, Err(SendRefusal::GroupsOff));
    }

    #[rstest]
    #[case::empty("", None, None, SendField::Text)]
    #[case::blank(" \n\t", None, None, SendField::Text)]
    #[case::nul("a\0", None, None, SendField::Text)]
    #[case::no_key("a", Some(""), None, SendField::IdempotencyKey)]
    #[case::nul_key("a", Some("\0"), None, SendField::IdempotencyKey)]
    #[case::topic("a", None, Some(0), SendField::Topic)]
    fn bad_words_are_refused_by_field(
        #[case] text: &str,
        #[case] key: Option<&str>,
        #[case] topic: Option<i64>,
        #[case] field: SendField,
    ) {
        let request = SendRequest {
            text: text.into(),
            idempotency_key: key.map(Into::into),
            topic,
            ..SendRequest::default()
        };
        let refused = check_words(&request).expect_err("refused");
        assert_eq!(refused.field(), field);
    }

    #[test]
    fn text_has_a_bound() {
        let of = |bytes| SendRequest {
            text: "x".repeat(bytes),
            ..SendRequest::default()
        };
        assert_eq!(check_words(&of(MAX_TEXT_BYTES)), Ok(()));
        let refused = check_words(&of(MAX_TEXT_BYTES + 1));
        assert_eq!(refused, Err(SendRefusal::TextTooLong(MAX_TEXT_BYTES + 1)));
    }
}
