//! `spec.access.companyUsers.oidc`: members of the organization, as its identity provider knows them.

use std::time::Duration;

use kube::KubeSchema;
use kube::core::{Reason, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyRef;

/// The key of the client secret's Secret when `clientSecretRef.key` is absent.
pub const DEFAULT_CLIENT_SECRET_KEY: &str = "client-secret";
/// `recheckHours` when absent.
pub const DEFAULT_RECHECK_HOURS: u32 = 24;

/// An OpenID Connect provider with which people sign in by a link and a code (OAuth 2.0 device authorization, RFC 8628), such as Keycloak, Entra ID,
/// Okta or Google.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcSpec {
    /// The provider's issuer, exactly as the provider writes it, to the last slash: an https URL without query, such as
    /// https://id.acme.example/realms/acme.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = is_issuer(), validation = has_no_user_info())]
    pub issuer: String,
    /// The client that the provider knows the connector by, 1 to 512 characters. It must be allowed the device authorization grant.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[\x20-\x7e]+$"))]
    pub client_id: String,
    /// The Secret that holds the client's secret; its key is "client-secret" unless named. Absent: a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<SecretKeyRef>,
    /// Claims that must hold, all of them, at most 10. Absent: whoever the provider lets sign in to this client is a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["claim"])
    )]
    pub required_claims: Option<Vec<RequiredClaimSpec>>,
    /// Scopes to ask for beside openid, at most 20. With offline_access, where the provider offers it, a refresh token is kept for the recheck;
    /// without it people sign in again at each recheck. Absent: offline_access where the provider offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 20),
        inner(length(min = 1, max = 128), regex(pattern = r"^[\x21\x23-\x5b\x5d-\x7e]+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub scopes: Option<Vec<String>>,
    /// Hours after which the provider is asked again whether somebody is a member, 1 to 8760. Default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8760))]
    pub recheck_hours: Option<i32>,
    /// Hours that a member keeps access after a recheck is due while the provider cannot be reached, 0 to 720. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 720))]
    pub grace_hours: Option<i32>,
}

/// A claim that must hold: it is one of the values, or a list with one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct RequiredClaimSpec {
    /// The claim's name, 1 to 256 characters, such as groups; a nested one with dots, such as realm_access.roles.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// Any of these will do, 1 to 50; upper and lower case differ. A number or a truth is written as text.
    #[schemars(
        length(min = 1, max = 50),
        inner(length(min = 1, max = 256)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub values: Vec<String>,
}

impl OidcSpec {
    /// After how long it is asked again whether somebody is a member.
    pub fn recheck(&self) -> Duration {
        hours_or(self.recheck_hours, DEFAULT_RECHECK_HOURS)
    }

    /// How long a provider that is away ends nobody's access.
    pub fn grace(&self) -> Duration {
        hours_or(self.grace_hours, 0)
    }
}

fn hours_or(hours: Option<i32>, default: u32) -> Duration {
    let hours = hours.and_then(|hours| u32::try_from(hours).ok());
    Duration::from_hours(hours.unwrap_or(default).into())
}

/// Plain http on this machine is for `dev`; the operator's guard refuses loopback elsewhere.
fn is_issuer() -> Rule {
    Rule::new(
        "(self.matches('^https://[^ /?#]+[^ ?#]*$') || self.matches('^http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?(/[^ ?#]*)?$')) && isURL(self)",
    )
    .message("issuer must be an https:// URL with a host and without query, such as https://id.acme.example/realms/acme")
}

fn has_no_user_info() -> Rule {
    Rule::new("!self.matches('^[^/?#]*//[^/?#]*@')")
        .message("issuer must not hold user info (the part before @)")
        .reason(Reason::FieldValueForbidden)
}
