//! The resolver of the assistants' HTTP client: looks names up at every connection and leaves only what the policy permits, so that a name that
//! changes its address later is refused too (DNS rebinding).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower::{BoxError, Service};

use super::{AddressPolicy, AddressRefused};

/// Looks a name up.
pub(crate) type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// A resolver with the policy applied to what it finds.
#[derive(Debug, Clone)]
pub(crate) struct FilteringResolver {
    policy: Arc<AddressPolicy>,
    lookup: Lookup,
}

impl FilteringResolver {
    /// The system's resolver, guarded.
    pub(crate) fn new(policy: Arc<AddressPolicy>) -> Self {
        Self {
            policy,
            lookup: |name| {
                async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed()
            },
        }
    }
}

impl FilteringResolver {
    /// The same with another way to look names up.
    #[cfg(test)]
    pub(crate) fn with_lookup(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    fn permitted(&self, name: String) -> Resolving {
        let Self { policy, lookup } = self.clone();
        Box::pin(async move {
            let found = lookup(name.clone()).await?;
            Ok(permitted_addresses(&policy, &name, found)?)
        })
    }
}

/// For reqwest's client.
impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        self.permitted(name.as_str().to_owned())
    }
}

/// For hyper's client.
impl Service<dns::Name> for FilteringResolver {
    type Response = Addrs;
    type Error = BoxError;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Resolving {
        self.permitted(name.as_str().to_owned())
    }
}

/// The addresses of a name that may be connected to; an error if the policy leaves none of them.
fn permitted_addresses(
    policy: &AddressPolicy,
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Addrs, AddressRefused> {
    if policy.is_proxy(name) {
        // Named by the administrator; no URL of an assistant may name it.
        return Ok(Box::new(found.into_iter()));
    }
    let rules = policy.check_name(name)?;
    let mut refused = None;
    let mut left = found;
    left.retain(|address| match rules.check(address.ip()) {
        Ok(()) => true,
        Err(reason) => {
            refused = Some(reason);
            false
        }
    });
    match refused {
        Some(reason) if left.is_empty() => Err(AddressRefused {
            target: name.to_owned(),
            reason,
        }),
        _ => Ok(Box::new(left.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper_util::client::proxy::matcher::Matcher;
    use rstest::rstest;

    use super::*;
    use crate::assistant::AssistantError;
    use crate::assistant::address_policy::RefusalReason;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 0)
    }

    #[test]
    fn name_without_permitted_addresses_fails_with_the_reason() {
        let policy = AddressPolicy::default();
        let mixed = vec![address("169.254.169.254"), address("10.0.0.1")];
        let left: Vec<_> = permitted_addresses(&policy, "mixed.example", mixed)
            .expect("one is left")
            .collect();
        assert_eq!(left, [address("10.0.0.1")]);
        let refused = permitted_addresses(&policy, "evil.example", vec![address("fe80::1")]).err();
        assert_eq!(
            refused,
            Some(AddressRefused {
                target: "evil.example".into(),
                reason: RefusalReason::LinkLocal
            })
        );
    }

    #[rstest]
    #[case::host("agent.acme.svc", "10.9.9.9", true)]
    #[case::address_in_range("other.acme.svc", "10.1.2.3", true)]
    #[case::neither("other.acme.svc", "10.9.9.9", false)]
    #[case::host_at_a_refused_address("agent.acme.svc", "127.0.0.1", false)]
    fn listed_hosts_and_ranges_are_all_that_may_be_called(
        #[case] name: &str,
        #[case] resolved: &str,
        #[case] permitted: bool,
    ) {
        let list = ["agent.acme.svc", "10.1.0.0/16"].map(|entry| entry.parse().expect("an entry"));
        let policy = AddressPolicy::default().only(list.to_vec());
        let found = permitted_addresses(&policy, name, vec![address(resolved)]);
        assert_eq!(found.is_ok(), permitted);
    }

    #[test]
    fn the_administrators_proxy_may_have_any_address() {
        let matcher = Matcher::builder().all("http://proxy.local:3128").build();
        let policy = AddressPolicy::default().with_proxies(matcher);
        assert!(permitted_addresses(&policy, "proxy.local", vec![address("127.0.0.1")]).is_ok());
        let url = "http://Proxy.local:8080/".parse().expect("a URL");
        assert!(policy.check_url(&url).is_err());
    }

    #[tokio::test]
    async fn name_that_resolves_to_a_refused_address_is_not_called() {
        let cases: [(Lookup, &str); 2] = [
            (
                |_| async { Ok(vec![address("169.254.169.254")]) }.boxed(),
                "\"rebound.example\" is a cloud metadata address",
            ),
            (
                |_| async { Ok(vec![address("127.0.0.1")]) }.boxed(),
                "\"rebound.example\" is a loopback address",
            ),
        ];
        for (lookup, says) in cases {
            let resolver = FilteringResolver {
                policy: Arc::default(),
                lookup,
            };
            let client = reqwest::Client::builder()
                .no_proxy()
                .dns_resolver(Arc::new(resolver))
                .build()
                .expect("a client");
            let error = client
                .get("http://rebound.example/")
                .send()
                .await
                .expect_err("refused");
            let error =
                AssistantError::from_reqwest(&error, "rebound.example", Duration::from_secs(5));
            assert!(!error.is_retryable());
            assert!(error.detail.contains(says), "{error}");
        }
    }
}
