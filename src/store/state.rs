//! A store as [`inspect`](super::inspect) found it.

use sqlx::migrate::MigrateError;

use super::StoreError;
use super::migrations::{File, newer_version};

/// Which version the tables of a store have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreState {
    /// The version of its tables; 0 where they are not made yet.
    pub schema_version: i64,
    /// The version that this program makes of them when it opens the store.
    pub current_version: i64,
}

impl StoreState {
    /// `address` is shown: it holds no password.
    pub(super) fn new(
        schema_version: i64,
        migrations: &[File],
        address: &str,
    ) -> Result<Self, StoreError> {
        let newest = migrations.iter().map(|(version, ..)| *version).max();
        let current_version = newest.unwrap_or_default();
        if schema_version > current_version
            && let Some(newer) = newer_version(&MigrateError::VersionMissing(schema_version))
        {
            return Err(StoreError::Invalid(format!("--store {address}: {newer}")));
        }
        Ok(Self {
            schema_version,
            current_version,
        })
    }
}
