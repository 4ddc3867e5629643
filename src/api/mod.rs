//! What users write and what they read back: the three kinds of `connectors.pupau.ai/v1alpha1`, their admission rules,
//! conditions and reasons. Types and constants only; nothing here does I/O.

pub mod cluster_user_list;
pub mod conditions;
pub mod connector;
pub mod crds;
pub mod until;
pub mod user_list;
mod user_ref;

pub use cluster_user_list::{ClusterTelegramUserList, ClusterTelegramUserListSpec};
pub use connector::{TelegramConnector, TelegramConnectorSpec, TelegramConnectorStatus};
pub use user_list::{TelegramUserList, TelegramUserListSpec, TelegramUserListStatus};
pub use user_ref::UserRef;

/// The API group of our kinds.
pub const GROUP: &str = "connectors.pupau.ai";
/// The one served and stored version.
pub const VERSION: &str = "v1alpha1";
/// The finalizer that withdraws a bot's webhook before a connector goes; there only while a webhook of ours may be registered.
pub const FINALIZER: &str = "connectors.pupau.ai/disconnect";
/// The field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "telegram-connector-operator";
/// Annotation: `"true"` lets a deletion go through without disconnecting the bot.
pub const SKIP_DISCONNECT_ANNOTATION: &str = "connectors.pupau.ai/skip-disconnect";
/// Label of a Secret: `"true"` lets connectors use it where the administrator requires that (`--require-secret-label`).
pub const ALLOW_USE_LABEL: &str = "connectors.pupau.ai/allow-use";
