//! The Telegram Connector Operator: from a `TelegramConnector` in YAML to an assistant that answers in Telegram.
//!
//! Two flows run through the modules below. They share three modules only: the [`registry`], the [`store`] and the [`observation`]s.
//!
//! 1. **A resource changes**: the [`controller`] resolves it (Secret, user lists, assistant key) into one immutable
//!    [`registry::ResolvedConnector`], publishes that to the [`registry`], starts or stops the [`connection`], and writes the status.
//! 2. **A message arrives**: the [`connection`] hands the raw update to the [`store`]'s inbox and only then acknowledges it to
//!    Telegram; the [`pipeline`] claims it in order per chat, decides whether the sender may write and which session the message
//!    belongs to, asks the [`assistant`] and delivers the answer through [`telegram`].
//!
//! Flow 2 never calls the Kubernetes API, and flow 1 never waits for a message.
//!
//! The modules in their order: each uses only those above it in this table, which `cargo test --test structure` checks.
//!
//! | module | what it owns |
//! |---|---|
//! | [`identity`], [`clock`], [`backoff`] | the identifiers of connectors and bots; the injected clock; the delays between retries |
//! | [`calendar`] | days of a time zone, by rules that are compiled in |
//! | `bounded_text` | texts for people, cut to a bearable length |
//! | [`history`], [`texts`] | one message of a conversation; the bot's own replies, in seven languages |
//! | [`http_server`] | what all HTTP listeners share: bounds on connections, heads and time |
//! | [`telegram`] | Bot API calls: error classes, redaction, rate limits, text splitting and formatting |
//! | [`telemetry`] | logs, metrics, traces, and the admin endpoint with health and readiness |
//! | [`store`] | inbox, outbox, sessions, denied conversations, leases of shards: one trait, SQLite and PostgreSQL |
//! | [`api`] | the three kinds, their CEL rules, conditions and reasons. No I/O |
//! | [`assistant`] | the assistant protocols, one file each, behind one trait |
//! | [`identity_provider`] | sign-in with the company account: OpenID Connect by the device flow, and the seal on tokens |
//! | [`observation`] | what connection and pipeline observed, for the controller's status |
//! | [`registry`] | the resolved connectors: many readers, cheap swaps |
//! | [`connection`] | one poller per bot; webhook registration and the webhook server |
//! | [`pipeline`] | from the inbox to the delivered reply: access, sessions, order per chat, retries, dead letters |
//! | [`data_api`] | the store's objects for kubectl, through API aggregation; its certificates |
//! | [`controller`] | watches, reconcile, finalizer, status, events, leader election, shared polling |
//! | [`operator`] | one running operator: starts its parts and stops them in order |
//! | `kube_client` | the client of the cluster that the kubeconfig names, through the environment's proxy |
//! | [`cli`] | the command line: flags and their environment variables |
//! | `run` | the command `run`: the operator until SIGTERM |
//! | `dev` | `demo` and `dev`: the operator with the control plane and the simulator of `crates/` in one process (cargo feature `dev`) |
//! | [`commands`] | the program's entry point and all other commands: `check`, `doctor`, `allow`, `deny`, `denied`, `sessions`, `dead-letters`, `requests`, `grants`, `backup`, `crds` |

pub mod api;
pub mod assistant;
pub mod backoff;
mod bounded_text;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod connection;
pub mod controller;
pub mod data_api;
#[cfg(feature = "dev")]
pub mod dev;
pub mod history;
pub mod http_server;
pub mod identity;
pub mod identity_provider;
mod kube_client;
pub mod observation;
pub mod operator;
pub mod pipeline;
pub mod registry;
mod run;
pub mod store;
pub mod telegram;
pub mod telemetry;
pub mod texts;
