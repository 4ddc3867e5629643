//! The addresses that an assistant may have (protection from SSRF). Anyone who may write a `TelegramConnector` chooses a URL that the
//! operator calls from inside the cluster; cloud metadata services, which hand out a machine's credentials, must not be reachable so.
//!
//! IP literals are checked when the assistant is built. Names are checked at every connection, after they are resolved, so that a name
//! that changes its address later is refused too (DNS rebinding). Redirects are not followed.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// An address or a range that is allowed although the policy would refuse it: `169.254.20.10`, `fe80::/10`.
/// The value of `--allow-assistant-address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedAddress(IpNet);

impl FromStr for AllowedAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(|net| Self(net.trunc()))
            .map_err(|_| {
                format!(
                    "\"{text}\" is neither an IP address nor a CIDR range such as 169.254.20.0/24"
                )
            })
    }
}

impl fmt::Display for AllowedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The policy for assistant addresses. Loopback and private ranges are allowed (services in the cluster, development);
/// link-local, metadata, multicast and unspecified addresses are refused unless they are on the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<AllowedAddress>,
}

/// An address that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{target}\" is {why}; assistants there are refused, unless the administrator allows the address with --allow-assistant-address"
)]
pub struct AddressRefused {
    /// The refused host or address.
    pub target: String,
    /// The kind of address; continues the error message.
    pub why: &'static str,
}

const LINK_LOCAL: &str = "a link-local address";
const METADATA: &str = "a cloud metadata address";
const NO_HOST: &str = "no address of a single host";

/// Names by which clouds offer their metadata service inside a machine (GCP, AWS, Azure, Tencent).
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
];

/// The address of the metadata service in nearly every cloud.
const METADATA_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

impl AddressPolicy {
    /// The default policy with exceptions.
    pub fn allowing(allowed: Vec<AllowedAddress>) -> Self {
        Self { allowed }
    }

    /// Checks an address, also an IPv4 address embedded in an IPv6 one (IPv4-mapped, NAT64, 6to4).
    ///
    /// # Errors
    /// [`AddressRefused`] with the reason.
    pub fn check_address(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let inner = embedded_ipv4(address);
        let listed = |ip: IpAddr| self.allowed.iter().any(|net| net.0.contains(&ip));
        match refusal_reason(inner) {
            Some(why) if !listed(inner) && !listed(address) => Err(AddressRefused {
                target: address.to_string(),
                why,
            }),
            _ => Ok(()),
        }
    }

    /// Checks the host of a URL: an IP literal or a name. The addresses of a name are checked by the resolver.
    ///
    /// # Errors
    /// [`AddressRefused`] with the reason.
    pub fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_address(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_address(ip.into()),
            Some(Host::Domain(name)) => self.check_name(name),
            None => Ok(()),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), AddressRefused> {
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        if METADATA_NAMES.contains(&bare.as_str()) && self.check_address(METADATA_V4).is_err() {
            return Err(AddressRefused {
                target: name.to_owned(),
                why: METADATA,
            });
        }
        Ok(())
    }
}

/// Why an address is refused by default, if it is.
fn refusal_reason(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) => {
            if ip == METADATA_V4
                // Alibaba Cloud; Azure's WireServer.
                || ip == Ipv4Addr::new(100, 100, 100, 200)
                || ip == Ipv4Addr::new(168, 63, 129, 16)
            {
                Some(METADATA)
            } else if ip.is_link_local() {
                Some(LINK_LOCAL)
            } else if ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() {
                Some(NO_HOST)
            } else {
                None
            }
        }
        IpAddr::V6(ip) => {
            let s = ip.segments();
            // AWS keeps instance metadata and EKS Pod Identity in fd00:ec2::/32; GCP has fd20:ce::254.
            if s[..2] == [0xfd00, 0x0ec2] || ip == Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)
            {
                Some(METADATA)
            } else if ip.is_unicast_link_local() {
                Some(LINK_LOCAL)
            } else if ip.is_unspecified() || ip.is_multicast() {
                Some(NO_HOST)
            } else {
                None
            }
        }
    }
}

/// The IPv4 address that an IPv6 address leads to, or the address itself.
fn embedded_ipv4(address: IpAddr) -> IpAddr {
    let IpAddr::V6(ip) = address.to_canonical() else {
        return address.to_canonical();
    };
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match s {
        // NAT64, RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 6to4, RFC 3056.
        | [0x2002, high, low, ..] => v4(high, low),
        // IPv4-compatible, RFC 4291 2.5.5.1; but not :: and ::1.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => address,
    }
}

/// Looks a name up.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// A resolver with the policy applied to what it finds.
#[derive(Debug, Clone)]
pub(super) struct FilteringResolver {
    policy: Arc<AddressPolicy>,
    lookup: Lookup,
}

impl FilteringResolver {
    /// The system's resolver, guarded.
    pub(super) fn new(policy: Arc<AddressPolicy>) -> Self {
        Self {
            policy,
            lookup: |name| {
                async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed()
            },
        }
    }
}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { policy, lookup } = self.clone();
        Box::pin(async move {
            let found = lookup(name.as_str().to_owned()).await?;
            Ok(permitted_addresses(&policy, name.as_str(), found)?)
        })
    }
}

/// The addresses of a name that may be connected to; an error if the policy leaves none of them.
fn permitted_addresses(
    policy: &AddressPolicy,
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Addrs, AddressRefused> {
    policy.check_name(name)?;
    let mut refused = None;
    let mut left = found;
    left.retain(|address| match policy.check_address(address.ip()) {
        Ok(()) => true,
        Err(why) => {
            refused = Some(why.why);
            false
        }
    });
    match refused {
        Some(why) if left.is_empty() => Err(AddressRefused {
            target: name.to_owned(),
            why,
        }),
        _ => Ok(Box::new(left.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::assistant::AssistantError;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[rstest]
    #[case("http://169.254.169.254/latest")]
    #[case("http://169.254.170.2/")]
    #[case("http://0xA9FEA9FE/")]
    #[case("http://2852039166/")]
    #[case("http://[::ffff:169.254.169.254]/")]
    #[case("http://[::169.254.169.254]/")]
    #[case("http://[64:ff9b::a9fe:a9fe]/")]
    #[case("http://[2002:a9fe:a9fe::1]/")]
    #[case("http://[fe80::1]/")]
    #[case("http://[febf::1]/")]
    #[case("http://[fd00:ec2::254]/")]
    #[case("http://[fd00:ec2::23]/")]
    #[case("http://[fd20:ce::254]/")]
    #[case("http://100.100.100.200/")]
    #[case("http://168.63.129.16/")]
    #[case("http://0.0.0.0/")]
    #[case("http://[::]/")]
    #[case("http://255.255.255.255/")]
    #[case("http://metadata.google.internal/computeMetadata/v1")]
    #[case("http://METADATA.google.internal./")]
    fn metadata_and_link_local_urls_are_refused(#[case] text: &str) {
        assert!(
            AddressPolicy::default().check_url(&url(text)).is_err(),
            "{text}"
        );
    }

    #[rstest]
    #[case("http://127.0.0.1:8080/v1")]
    #[case("http://[::1]:8080/v1")]
    #[case("http://localhost/v1")]
    #[case("http://10.0.0.7/")]
    #[case("http://192.168.1.1/")]
    #[case("http://172.16.0.1/")]
    #[case("http://[fd12:3456::1]/")]
    #[case("http://agent.acme.svc:8080/v1")]
    #[case("https://api.openai.com/v1")]
    #[case("https://8.8.8.8/")]
    fn services_in_the_cluster_and_outside_are_allowed(#[case] text: &str) {
        assert_eq!(AddressPolicy::default().check_url(&url(text)), Ok(()));
    }

    #[test]
    fn the_allow_list_opens_exactly_what_it_names() {
        let policy = AddressPolicy::allowing(vec!["169.254.20.0/24".parse().expect("a range")]);
        assert!(policy.check_url(&url("http://169.254.20.10/")).is_ok());
        assert!(
            policy
                .check_url(&url("http://[::ffff:169.254.20.10]/"))
                .is_ok()
        );
        assert!(policy.check_url(&url("http://169.254.169.254/")).is_err());
        assert!(
            policy
                .check_url(&url("http://metadata.google.internal/"))
                .is_err()
        );
    }

    #[test]
    fn name_without_permitted_addresses_fails_with_the_reason() {
        let policy = AddressPolicy::default();
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
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
                why: LINK_LOCAL
            })
        );
    }

    #[tokio::test]
    async fn name_that_resolves_to_metadata_is_refused_with_the_reason() {
        let resolver = FilteringResolver {
            policy: Arc::default(),
            lookup: |_| async { Ok(vec![SocketAddr::from(([169, 254, 169, 254], 0))]) }.boxed(),
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
        let error = AssistantError::from_reqwest(&error, "rebound.example");
        assert!(!error.retryable);
        assert!(
            error
                .detail
                .contains("\"rebound.example\" is a cloud metadata address"),
            "{error}"
        );
    }

    #[rstest]
    #[case("169.254.20.10", "169.254.20.10/32")]
    #[case("fe80::/10", "fe80::/10")]
    #[case(" 10.1.2.3/8 ", "10.0.0.0/8")]
    fn an_allowed_address_is_an_address_or_a_range(#[case] text: &str, #[case] shown: &str) {
        let parsed: AllowedAddress = text.parse().expect("valid");
        assert_eq!(parsed.to_string(), shown);
        assert!("metadata".parse::<AllowedAddress>().is_err());
    }
}
