//! Assistants and transcribers are built once for each spec and its secret values, so that their HTTP connections and what was seen of them survive a
//! reconcile.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::assistant::Credentials;
use crate::identity::ConnectorUid;

/// What was built for a connector, or why it cannot be built.
pub(super) type BuildResult<T> = Result<Arc<T>, Arc<str>>;

struct CachedBuild<Spec, T: ?Sized> {
    spec: Spec,
    credentials: Credentials,
    result: BuildResult<T>,
}

/// One build per connector, with the spec and the secret values it was made from.
pub(super) struct BuildCache<Spec, T: ?Sized>(Mutex<HashMap<ConnectorUid, CachedBuild<Spec, T>>>);

impl<Spec, T: ?Sized> Default for BuildCache<Spec, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Spec: Clone + PartialEq, T: ?Sized> BuildCache<Spec, T> {
    /// The build for this spec and these values, made by `build` if the last one was from others; and whether it took another one's place.
    pub(super) fn get_or_build(
        &self,
        uid: &ConnectorUid,
        spec: &Spec,
        credentials: Credentials,
        build: impl FnOnce(&Spec, Credentials) -> Result<Arc<T>, String>,
    ) -> (BuildResult<T>, bool) {
        let mut builds = self.0.lock();
        if let Some(known) = builds.get(uid)
            && known.spec == *spec
            && known.credentials == credentials
        {
            return (known.result.clone(), false);
        }
        let result: BuildResult<T> = build(spec, credentials.clone()).map_err(Into::into);
        let new = CachedBuild {
            spec: spec.clone(),
            credentials,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;

    use super::*;

    #[test]
    fn same_spec_and_secrets_are_built_once() {
        let cache = BuildCache::<u8, str>::default();
        let uid = ConnectorUid::from("u");
        let key = |text: &str| Credentials::from(Some(SecretString::from(text.to_owned())));
        let header = |text: &str| Credentials {
            header_values: BTreeMap::from([(0, text.to_owned().into())]),
            ..key("a")
        };
        let build = |name: &'static str| move |_: &u8, _| Ok(Arc::from(name));
        let none = Credentials::default;
        let get = |spec, credentials, name| {
            let (result, replaced) = cache.get_or_build(&uid, &spec, credentials, build(name));
            (result.expect("built").to_string(), replaced)
        };
        assert_eq!(get(1, none(), "first"), ("first".into(), false));
        assert_eq!(get(1, none(), "again"), ("first".into(), false));
        assert_eq!(get(1, key("a"), "key"), ("key".into(), true));
        assert_eq!(get(2, key("a"), "spec"), ("spec".into(), true));
        assert_eq!(get(2, header("b"), "header"), ("header".into(), true));
        assert_eq!(get(2, header("b"), "again"), ("header".into(), false));
        assert_eq!(get(2, header("c"), "value"), ("value".into(), true));
        cache.remove(&uid);
        assert_eq!(get(2, key("a"), "anew"), ("anew".into(), false));
    }
}
