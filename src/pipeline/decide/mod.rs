//! What is to be done with a message: pure functions over the resolved connector and the message, without I/O.

pub mod access;
pub(crate) mod access_request;
pub(crate) mod assistant_input;
pub(crate) mod attachment_check;
pub(crate) mod buttons;
pub(crate) mod canned_reply;
pub(crate) mod classified_message;
pub(crate) mod decision;
pub(crate) mod denied;
pub(crate) mod estimate;
pub(crate) mod file_type;
pub(crate) mod groups;
pub(crate) mod handled_messages;
pub(crate) mod history;
pub(crate) mod interruption;
pub(crate) mod lane_memory;
pub(crate) mod message_batch;
#[cfg(test)]
mod message_fields_tests;
pub(crate) mod read_along;
pub(crate) mod retry;
pub(crate) mod session;
pub(crate) mod sign_in;
#[cfg(test)]
pub(crate) mod test_values;
pub(crate) mod user_decision;
