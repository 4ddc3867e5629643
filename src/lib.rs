//! The Telegram Connector Operator: from a `TelegramConnector` in YAML to an assistant that answers in Telegram.
//!
//! This page is the map. Two flows meet in three places only: the [`registry`], the [`store`] and the
//! [`observation`]s.
//!
//! 1. **A resource changes**: [`controller`] resolves it (Secret, user lists, assistant key) into one immutable
//!    [`registry::ResolvedConnector`], publishes it to the [`registry`], makes the [`connection`] be so, and writes what it
//!    found into the status.
//! 2. **A message arrives**: [`connection`] hands the raw update to the [`store`]'s inbox and only then acknowledges it to
//!    Telegram; [`pipeline`] takes it from the inbox in order per chat, decides who it is and which session it belongs to,
//!    asks the [`assistant`] and delivers the answer through [`telegram`].
//!
//! Flow 2 never calls the Kubernetes API and flow 1 never waits for a message.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line: flags, their environment variables, and the settings they become |
//! | [`run`], [`listings`], [`backup`] | the command `run`; the commands that read the store (`denied`, `sessions`, `dead-letters`), and copy it |
//! | [`allow`] | the commands `allow` and `deny`: who may write, as YAML or applied |
//! | [`operator`] | one running operator: starts its parts, and takes them down in the right order |
//! | [`api`] | what users write and read: the two kinds, their CEL rules, conditions and reasons. No I/O |
//! | [`check`] | `check FILES`: the same schema and rules, offline, with file and line |
//! | [`controller`] | watches, resolve, reconcile, finalize, status, events, leadership |
//! | [`registry`] | the resolved connectors: many readers, cheap swaps |
//! | [`observation`] | what connection and pipeline saw, for the controller to judge |
//! | [`connection`] | one poller per bot; webhook registration and its server |
//! | [`pipeline`] | access, session, dispatch in order per chat, reply delivery, retries |
//! | [`assistant`] | one file per protocol behind one trait |
//! | [`telegram`] | Bot API calls: error classes, redaction, rate limits, text splitting and formatting |
//! | [`store`] | the inbox, outbox, sessions and denied conversations: one trait, SQLite and PostgreSQL |
//! | [`telemetry`] | logs, metrics, health |
//! | [`proxy`] | by which proxy the API server of a kubeconfig is reached |
//! | [`clock`], [`identity`], [`backoff`] | the injected clock; the names of connectors and bots that every module shares; how long to wait before the next try |
//! | [`history`], [`texts`] | one message of a conversation; what the bot says by itself, in seven languages |
//! | `dev` | embedded control plane, Bot API simulator, sample assistant, `demo` and `dev` (cargo feature `dev`) |

pub mod allow;
pub mod api;
pub mod assistant;
pub mod backoff;
pub mod backup;
pub mod check;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod controller;
#[cfg(feature = "dev")]
pub mod dev;
pub mod history;
pub mod identity;
pub mod listings;
pub mod observation;
pub mod operator;
pub mod pipeline;
pub mod proxy;
pub mod registry;
pub mod run;
pub mod store;
pub mod telegram;
pub mod telemetry;
pub mod texts;
