//! Who calls. There is no authentication: every caller is an administrator, who may act as somebody else with the headers of
//! impersonation, as `kubectl --as` and `kube::Client` send them.
//!
//! Source: apiserver `pkg/endpoints/filters/impersonation.go`.

use http::HeaderMap;

use super::status_error::StatusError;

/// The group whose members may do everything.
const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A user of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub name: String,
    pub groups: Vec<String>,
    /// Further facts by key; a key has one value or more.
    pub extra: Vec<(String, String)>,
    /// Whether the administrator acts as this user.
    pub impersonated: bool,
}

impl Caller {
    /// The administrator.
    pub(super) fn admin() -> Self {
        Self::system("kubernetes-admin", &[MASTERS, AUTHENTICATED])
    }

    /// A part of the control plane itself.
    pub(super) fn system(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            extra: Vec::new(),
            impersonated: false,
        }
    }

    /// A controller with a `ServiceAccount` of its own in `kube-system`.
    pub(super) fn controller(name: &str) -> Self {
        let user = format!("{SERVICE_ACCOUNT}kube-system:{name}");
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            AUTHENTICATED,
        ];
        Self::system(&user, &groups)
    }

    /// Reads the headers of impersonation; without them the caller is the administrator.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, StatusError> {
        let texts = |name: &str| -> Vec<String> {
            let all = headers.get_all(name).iter();
            all.filter_map(|value| value.to_str().ok())
                .map(str::to_owned)
                .collect()
        };
        let name = texts("impersonate-user").into_iter().next();
        let mut groups = texts("impersonate-group");
        let extra = extra(headers);
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            if groups.is_empty() && extra.is_empty() {
                return Ok(Self::admin());
            }
            return Err(StatusError::injected(
                500,
                "Internal error occurred: requested groups or extra fields without impersonating a user",
            ));
        };
        if groups.is_empty()
            && let Some(account) = name.strip_prefix(SERVICE_ACCOUNT)
            && let Some((namespace, _)) = account.split_once(':')
        {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        let says = |group: &str| groups.iter().any(|one| one == group);
        if name == ANONYMOUS {
            if !says(UNAUTHENTICATED) {
                groups.push(UNAUTHENTICATED.into());
            }
        } else if !says(AUTHENTICATED) && !says(UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Ok(Self {
            name,
            groups,
            extra,
            impersonated: true,
        })
    }
}

/// `Impersonate-Extra-<key>`: keys are lower case and percent-encoded.
fn extra(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-")
            && let Ok(value) = value.to_str()
        {
            all.push((super::request::decode(key), value.to_owned()));
        }
    }
    all
}

/// Takes away what only this server may say about a caller, so that nobody behind it is told something forged.
pub(super) fn strip_identity(headers: &mut HeaderMap) {
    let theirs = |name: &str| {
        ["impersonate-", "x-remote-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name == "authorization"
    };
    let names: Vec<http::HeaderName> = headers.keys().cloned().collect();
    for name in names.into_iter().filter(|name| theirs(name.as_str())) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(headers: &[(&'static str, &str)]) -> Result<Caller, StatusError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header"));
        }
        Caller::from_headers(&map)
    }

    #[test]
    fn caller_without_headers_is_the_administrator() {
        let admin = caller(&[("x-remote-user", "mallory")]).expect("a caller");
        assert_eq!(admin, Caller::admin());
    }

    #[test]
    fn impersonated_users_are_authenticated() {
        let user = caller(&[
            ("impersonate-user", "ann"),
            ("impersonate-group", "staff"),
            ("impersonate-extra-a%2Fb", "c"),
        ])
        .expect("a caller");
        assert_eq!(user.groups, ["staff", AUTHENTICATED]);
        assert_eq!(user.extra, [("a/b".to_owned(), "c".to_owned())]);
        let account = caller(&[("impersonate-user", "system:serviceaccount:acme:bot")]);
        assert_eq!(
            account.expect("a caller").groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:acme",
                AUTHENTICATED
            ]
        );
        let nobody = caller(&[("impersonate-user", ANONYMOUS)]).expect("a caller");
        assert_eq!(nobody.groups, [UNAUTHENTICATED]);
        caller(&[("impersonate-group", "staff")]).expect_err("a group without a user");
    }
}
