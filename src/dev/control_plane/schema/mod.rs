//! Structural schemas: those of custom resources are shared with `check` ([`crate::api::schema`]); those of built-in kinds are made here.

pub(super) mod builtin;

pub(super) use crate::api::schema::{ListType, StructuralSchema, cel_rules, prune, validate};
