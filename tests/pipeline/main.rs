//! The way of a message: the store's promises and the pipeline's, through their real seams.

#![allow(clippy::unwrap_used, missing_docs)]

mod access_ends;
mod access_postgres;
mod access_requests;
mod answer_ends;
mod answer_parts;
mod attachments;
mod backlog;
mod bad_input;
mod buttons;
mod command_menu;
mod concurrency;
mod crashes;
mod day_limits;
mod decision_kills;
mod documents;
mod edits;
mod failures;
mod files_out;
mod full_context;
mod group_moves;
mod hostile_access;
mod identity_provider;
mod intercepted_store;
mod isolation;
mod kill_moments;
mod kills;
mod limits;
mod local_files;
mod message_flow;
#[allow(dead_code, reason = "the assistants' tests use the rest of it")]
#[path = "../assistants/mock_server.rs"]
mod mock_server;
#[path = "../support/not_tried.rs"]
mod not_tried;
mod outgoing;
mod outgoing_kills;
mod outgoing_postgres;
mod postgres;
#[path = "../support/postgres_server.rs"]
mod postgres_server;
mod postgres_silence;
mod preview;
mod progress;
mod read_along;
mod refused_key;
mod replicas;
mod rich;
mod scripted_assistant;
mod shards;
mod shutdown;
mod sign_in;
mod sign_in_kills;
mod silence;
mod speech;
mod stills;
mod stop_command;
mod store;
mod store_open_errors;
mod store_unavailable;
mod stored_bounds;
mod taps;
mod test_env;
mod topics;
mod webhook_connections;
