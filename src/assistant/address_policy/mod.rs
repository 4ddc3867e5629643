//! The addresses that an assistant may have (protection from SSRF). Anyone who may write a `TelegramConnector` chooses a URL that the
//! operator calls from inside the cluster; neither cloud metadata services, which hand out a machine's credentials, nor what listens in the operator's
//! own Pod or on its node must be reachable so.
//!
//! IP literals are checked when the assistant is built. Names are checked at every connection, after they are resolved. Redirects are not followed.
//!
//! | file | what it owns |
//! |---|---|
//! | `reserved` | the ranges that are refused by default, and IPv4 addresses within IPv6 addresses |
//! | `allowed_host` | an entry of the list of hosts that may be called |
//! | `resolver` | checks names when they are resolved |
//! | `own_addresses` | the addresses of the Pod and its node |

mod allowed_host;
mod own_addresses;
mod reserved;
mod resolver;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use ipnet::IpNet;
use url::{Host, Url};

pub use allowed_host::AllowedHost;
pub(crate) use own_addresses::own_addresses;
pub(super) use resolver::FilteringResolver;

use reserved::{destinations, reserved_reason};

/// An address or a range of addresses: `169.254.20.10`, `fe80::/10`.
/// The value of `--allow-assistant-address` and `--deny-assistant-address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl AddressRange {
    fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for AddressRange {
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

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The policy for assistant addresses. By default loopback, link-local, metadata, multicast and unspecified addresses are refused; private ranges are
/// allowed, because services in the cluster have them.
///
/// An address may be called if it is an exception or not refused, and if it is on the list of allowed hosts, where there is one.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    exceptions: Vec<AddressRange>,
    denied: Vec<AddressRange>,
    own: Vec<IpAddr>,
    only: Vec<AllowedHost>,
    /// Where files of answers may be fetched beside the assistants' own origins.
    file_hosts: Vec<AllowedHost>,
    proxies: Option<Proxies>,
}

/// The proxies that connections go through, by the URL that is called.
#[derive(Debug, Clone)]
struct Proxies {
    matcher: Arc<Matcher>,
    /// Their hosts, as [`bare_name`] has them.
    hosts: Vec<String>,
}

/// An address that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{target}\" {reason}")]
pub struct AddressRefused {
    /// The refused host or address.
    pub target: String,
    /// Why it is refused.
    pub reason: RefusalReason,
}

/// Why an address is refused. Displayed as the rest of a sentence that begins with the address, and says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Link-local: the node and its neighbours.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// Unspecified, multicast or broadcast.
    NoHost,
    /// Loopback: whatever listens in the operator's Pod.
    Loopback,
    /// An address of the operator's Pod or its node.
    Own,
    /// The host of the administrator's proxy.
    Proxy,
    /// On the administrator's list of denied ranges.
    Denied,
    /// Not on the administrator's list of allowed hosts.
    NotListed,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata address",
            Self::NoHost => "no address of a single host",
            Self::Loopback => "a loopback address",
            Self::Own => "an address of the operator or its node",
            Self::Denied => "in a range that the administrator denies",
            Self::Proxy => {
                return f.write_str("is the operator's proxy; no assistant is called there");
            }
            Self::NotListed => {
                return f.write_str("is not on the administrator's list of assistants' hosts (--allow-assistant-host); have it added, or use a host of the list");
            }
        };
        write!(
            f,
            "is {kind}; assistants there are refused, unless the administrator allows the address with --allow-assistant-address"
        )
    }
}

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

/// What [`AddressPolicy::allowing_loopback`] allows.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

impl AddressPolicy {
    /// The default policy with exceptions from all that it refuses.
    pub fn allowing(exceptions: Vec<AddressRange>) -> Self {
        Self {
            exceptions,
            ..Self::default()
        }
    }

    /// For `dev`, `demo` and tests, whose assistants listen on this machine: 127.0.0.1 and `::1` are allowed.
    pub fn allowing_loopback() -> Self {
        Self::allowing(LOOPBACK.map(|ip| AddressRange(ip.into())).to_vec())
    }

    /// Refuses these ranges too.
    #[must_use]
    pub(crate) fn denying(mut self, ranges: Vec<AddressRange>) -> Self {
        self.denied = ranges;
        self
    }

    /// Refuses whatever is not on this list, unless it is empty. An address of the list is still refused for other reasons.
    #[must_use]
    pub fn only(mut self, hosts: Vec<AllowedHost>) -> Self {
        self.only = hosts;
        self
    }

    /// Lets files of answers be fetched from these hosts, too. An address of the list is still refused for other reasons.
    #[must_use]
    pub fn with_file_hosts(mut self, hosts: Vec<AllowedHost>) -> Self {
        self.file_hosts = hosts;
        self
    }

    /// The hosts for files, if there are any, and the policy for them: the list of assistants' hosts does not count there.
    pub(super) fn for_files(&self) -> Option<(Vec<AllowedHost>, Self)> {
        let mut policy = self.clone();
        policy.only.clear();
        let hosts = std::mem::take(&mut policy.file_hosts);
        (!hosts.is_empty()).then_some((hosts, policy))
    }

    /// Refuses the addresses of this Pod and its node.
    #[must_use]
    pub(crate) fn with_own_addresses(mut self, addresses: Vec<IpAddr>) -> Self {
        self.own = addresses.into_iter().map(|ip| ip.to_canonical()).collect();
        self
    }

    /// Tells the proxies that connections go through. A proxy's host is resolved without a check, and no URL may name it; it resolves the names in
    /// URLs itself, so that these are judged as they are written.
    #[must_use]
    pub(crate) fn with_proxies(mut self, matcher: Matcher) -> Self {
        let hosts: Vec<String> = ["http://assistant.invalid", "https://assistant.invalid"]
            .into_iter()
            .filter_map(|url| matcher.intercept(&http::Uri::from_static(url)))
            .filter_map(|proxy| proxy.uri().host().map(bare_name))
            .collect();
        self.proxies = Some(Proxies {
            matcher: Arc::new(matcher),
            hosts,
        });
        self
    }

    /// Checks the host of a URL: an IP literal or a name. The addresses of a name are checked by the resolver.
    ///
    /// # Errors
    /// [`AddressRefused`] with the reason.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_address(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_address(ip.into()),
            Some(Host::Domain(name)) if self.is_proxy(name) => Err(AddressRefused {
                target: name.to_owned(),
                reason: RefusalReason::Proxy,
            }),
            Some(Host::Domain(name)) => {
                let rules = self.check_name(name)?;
                if !rules.host_is_listed && self.is_proxied(url) {
                    // Nobody checks whether the addresses that the proxy finds are in a range of the list.
                    return Err(AddressRefused {
                        target: name.to_owned(),
                        reason: RefusalReason::NotListed,
                    });
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Checks an address, also an IPv4 address embedded in an IPv6 one.
    ///
    /// # Errors
    /// [`AddressRefused`] with the reason.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let rules = AddressRules {
            policy: self,
            host_is_listed: self.only.is_empty(),
        };
        rules.check(address).map_err(|reason| AddressRefused {
            target: address.to_string(),
            reason,
        })
    }

    /// Checks a name, and returns the rules for the addresses that it resolves to.
    fn check_name(&self, name: &str) -> Result<AddressRules<'_>, AddressRefused> {
        let refused = |reason| {
            Err(AddressRefused {
                target: name.to_owned(),
                reason,
            })
        };
        let bare = bare_name(name);
        if METADATA_NAMES.contains(&bare.as_str()) && !self.is_exception(METADATA_V4) {
            return refused(RefusalReason::Metadata);
        }
        if is_localhost(&bare) && !LOOPBACK.iter().any(|ip| self.is_exception(*ip)) {
            return refused(RefusalReason::Loopback);
        }
        let host_is_listed =
            self.only.is_empty() || self.only.iter().any(|host| host.matches_name(&bare));
        let by_address = self
            .only
            .iter()
            .any(|host| matches!(host, AllowedHost::Range(_)));
        if !host_is_listed && !by_address {
            return refused(RefusalReason::NotListed);
        }
        Ok(AddressRules {
            policy: self,
            host_is_listed,
        })
    }

    fn is_exception(&self, address: IpAddr) -> bool {
        self.exceptions.iter().any(|range| range.contains(address))
    }

    fn is_proxy(&self, name: &str) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|proxies| proxies.hosts.contains(&bare_name(name)))
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let uri = url.as_str().parse();
        self.proxies.is_some() && uri.map_or(true, |uri| self.goes_through_proxy(&uri))
    }

    /// Whether a request to this URI goes through a proxy.
    pub(super) fn goes_through_proxy(&self, uri: &http::Uri) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|proxies| proxies.matcher.intercept(uri).is_some())
    }
}

/// The rules for the addresses of one host.
struct AddressRules<'a> {
    policy: &'a AddressPolicy,
    /// Whether the list of allowed hosts names the host, so that its addresses need not be on it.
    host_is_listed: bool,
}

impl AddressRules<'_> {
    fn check(&self, address: IpAddr) -> Result<(), RefusalReason> {
        let policy = self.policy;
        for destination in destinations(address) {
            let reason = reserved_reason(destination)
                .or_else(|| {
                    let own = policy.own.contains(&destination);
                    own.then_some(RefusalReason::Own)
                })
                .or_else(|| {
                    let denied = policy.denied.iter().any(|r| r.contains(destination));
                    denied.then_some(RefusalReason::Denied)
                });
            if let Some(reason) = reason
                && !policy.is_exception(destination)
                && !policy.is_exception(address)
            {
                return Err(reason);
            }
        }
        let canonical = address.to_canonical();
        if self.host_is_listed || policy.only.iter().any(|host| host.contains(canonical)) {
            Ok(())
        } else {
            Err(RefusalReason::NotListed)
        }
    }
}

/// A host name as it is compared.
fn bare_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a name means this machine, whoever resolves it (RFC 6761, section 6.3).
fn is_localhost(bare_name: &str) -> bool {
    bare_name == "localhost" || bare_name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
