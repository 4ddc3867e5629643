//! A provider's metadata and keys, read when they are needed and kept: a sign-in costs no discovery, and a provider that is away for a while
//! keeps nobody out.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use openidconnect::IssuerUrl;
use openidconnect::core::CoreJsonWebKeySet;
use tokio::sync::Mutex;

use super::discovery::{self, Discovered};
use super::http_client::IdentityProviderHttpClient;
use super::outcomes::ProviderError;
use crate::clock::SharedClock;

/// Metadata and keys are read again after this, at the next use.
const METADATA_AGE_SECONDS: u64 = 60 * 60;

/// Keys are read again for a key that is not among them, but not sooner than this after the last time.
const KEYS_INTERVAL_SECONDS: u64 = 60;

/// For so long after a failed discovery nobody asks again: who waits must not queue up behind a provider that is away.
const FAILURE_AGE_SECONDS: u64 = 10;

/// The metadata and keys of one provider.
pub(super) struct MetadataCache {
    /// The issuer, if it can be asked.
    usable: Result<IssuerUrl, ProviderError>,
    http: IdentityProviderHttpClient,
    clock: SharedClock,
    cached: ArcSwapOption<Cached>,
    /// Held while metadata or keys are read, so that they are read once; when it failed last, and why.
    reading: Mutex<Option<(Timestamp, ProviderError)>>,
}

/// What was read of a provider.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) discovered: Arc<Discovered>,
    pub(super) keys: Arc<CoreJsonWebKeySet>,
    read_at: Timestamp,
    keys_read_at: Timestamp,
}

impl MetadataCache {
    /// A cache that has read nothing yet, and never does where `usable` says why not.
    pub(super) fn new(
        usable: Result<IssuerUrl, ProviderError>,
        http: IdentityProviderHttpClient,
        clock: SharedClock,
    ) -> Self {
        Self {
            usable,
            http,
            clock,
            cached: ArcSwapOption::empty(),
            reading: Mutex::new(None),
        }
    }

    /// The issuer that tokens must name.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn issuer(&self) -> Result<&IssuerUrl, ProviderError> {
        self.usable.as_ref().map_err(Clone::clone)
    }

    /// What was read, whatever its age.
    pub(super) fn known(&self) -> Option<Arc<Cached>> {
        self.cached.load_full()
    }

    /// Metadata and keys, read if they are old. What was read before holds while the provider is away.
    ///
    /// # Errors
    /// [`ProviderError`] when nothing was ever read.
    pub(super) async fn current(&self) -> Result<Arc<Cached>, ProviderError> {
        let fresh = |known: &Arc<Cached>| self.seconds_since(known.read_at) < METADATA_AGE_SECONDS;
        if let Some(known) = self.cached.load_full().filter(fresh) {
            return Ok(known);
        }
        let mut failure = self.reading.lock().await;
        let known = self.cached.load_full();
        if let Some(known) = known.clone().filter(fresh) {
            return Ok(known);
        }
        let recent = failure
            .as_ref()
            .filter(|(at, _)| self.seconds_since(*at) < FAILURE_AGE_SECONDS);
        let error = match recent {
            Some((_, error)) => error.clone(),
            None => match self.read().await {
                Ok(read) => {
                    *failure = None;
                    return Ok(read);
                }
                Err(error) => {
                    *failure = Some((self.clock.now(), error.clone()));
                    error
                }
            },
        };
        known.ok_or(error)
    }

    /// Reads metadata and keys anew, whatever their age.
    ///
    /// # Errors
    /// [`ProviderError`]; the next use then waits a while, too.
    pub(super) async fn refresh(&self) -> Result<Arc<Cached>, ProviderError> {
        let mut failure = self.reading.lock().await;
        let read = self.read().await;
        *failure = read.as_ref().err().map(|e| (self.clock.now(), e.clone()));
        read
    }

    /// Reads metadata and keys. The caller holds `reading`.
    async fn read(&self) -> Result<Arc<Cached>, ProviderError> {
        let issuer = self.issuer()?;
        let discovered = discovery::discover(issuer, &self.http).await?;
        let now = self.clock.now();
        let read = Arc::new(Cached {
            keys: Arc::new(discovered.keys.clone()),
            discovered: Arc::new(discovered),
            read_at: now,
            keys_read_at: now,
        });
        self.cached.store(Some(read.clone()));
        Ok(read)
    }

    /// The keys as they are now, for a token whose key is not among those of `seen`.
    ///
    /// # Errors
    /// [`ProviderError`] when they cannot be read.
    pub(super) async fn newer_keys(
        &self,
        seen: &Arc<Cached>,
    ) -> Result<Arc<CoreJsonWebKeySet>, ProviderError> {
        let _reading = self.reading.lock().await;
        let known = self.cached.load_full().unwrap_or_else(|| seen.clone());
        let replaced = known.keys_read_at != seen.keys_read_at;
        if replaced || self.seconds_since(known.keys_read_at) < KEYS_INTERVAL_SECONDS {
            return Ok(known.keys.clone());
        }
        let keys = discovery::fetch_keys(&known.discovered.jwks_uri, &self.http).await?;
        let keys = Arc::new(keys);
        self.cached.store(Some(Arc::new(Cached {
            discovered: known.discovered.clone(),
            keys: keys.clone(),
            read_at: known.read_at,
            keys_read_at: self.clock.now(),
        })));
        Ok(keys)
    }

    /// A clock that was set back counts as well.
    fn seconds_since(&self, then: Timestamp) -> u64 {
        self.clock.now().as_second().abs_diff(then.as_second())
    }
}
