//! Logs, metrics and health: what an on-call engineer sees of the process.
