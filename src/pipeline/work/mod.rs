//! The loops: claims are requested, lanes are worked through, assistants are asked.

pub(crate) mod ask;
pub(crate) mod attachments;
pub(crate) mod batch_handler;
mod claim_health;
pub(crate) mod dispatcher;
pub(crate) mod documents;
pub(crate) mod download;
pub(crate) mod fair_share;
pub(crate) mod grants;
pub(crate) mod inbox_watch;
pub(crate) mod run_lane;
pub(crate) mod sign_in;
