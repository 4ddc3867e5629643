//! The pipeline: from the inbox to a delivered reply. Access, session, dispatch in order per chat, the assistant, the outbox, retries.
