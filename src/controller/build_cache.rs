//! Assistants and transcribers are built once for each spec and key, so that their HTTP connections and what was seen of them survive a
//! reconcile.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use crate::identity::ConnectorUid;

/// What was built for a connector, or why it cannot be built.
pub(super) type BuildResult<T> = Result<Arc<T>, Arc<str>>;

struct CachedBuild<Spec, T: ?Sized> {
    spec: Spec,
    key: Option<SecretString>,
    result: BuildResult<T>,
}

/// One build per connector, with the spec and the key it was made from.
pub(super) struct BuildCache<Spec, T: ?Sized>(Mutex<HashMap<ConnectorUid, CachedBuild<Spec, T>>>);

impl<Spec, T: ?Sized> Default for BuildCache<Spec, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Spec: Clone + PartialEq, T: ?Sized> BuildCache<Spec, T> {
    /// The build for this spec and key, made by `build` if the last one was from others; and whether it took another one's place.
    pub(super) fn get_or_build(
        &self,
        uid: &ConnectorUid,
        spec: &Spec,
        key: Option<SecretString>,
        build: impl FnOnce(&Spec, Option<SecretString>) -> Result<Arc<T>, String>,
    ) -> (BuildResult<T>, bool) {
        let mut builds = self.0.lock();
        if let Some(known) = builds.get(uid)
            && known.spec == *spec
            && expose(known.key.as_ref()) == expose(key.as_ref())
        {
            return (known.result.clone(), false);
        }
        let result: BuildResult<T> = build(spec, key.clone()).map_err(Into::into);
        let new = CachedBuild {
            spec: spec.clone(),
            key,
            result: result.clone(),
        };
        let replaced = builds.insert(uid.clone(), new).is_some();
        (result, replaced)
    }

    /// The connector is gone, or its spec no longer names anything to build.
    pub(super) fn remove(&self, uid: &ConnectorUid) {
        self.0.lock().remove(uid);
    }
}

fn expose(key: Option<&SecretString>) -> Option<&str> {
    key.map(ExposeSecret::expose_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_spec_and_key_are_built_once_and_others_replace_it() {
        let cache = BuildCache::<u8, str>::default();
        let uid = ConnectorUid::from("u");
        let key = |text: &str| Some(SecretString::from(text.to_owned()));
        let build = |name: &'static str| move |_: &u8, _| Ok(Arc::from(name));
        let get = |spec, k, name| {
            let (result, replaced) = cache.get_or_build(&uid, &spec, k, build(name));
            (result.expect("built").to_string(), replaced)
        };
        assert_eq!(get(1, None, "first"), ("first".into(), false));
        assert_eq!(get(1, None, "again"), ("first".into(), false));
        assert_eq!(get(1, key("a"), "key"), ("key".into(), true));
        assert_eq!(get(2, key("a"), "spec"), ("spec".into(), true));
        cache.remove(&uid);
        assert_eq!(get(2, key("a"), "anew"), ("anew".into(), false));
    }
}
