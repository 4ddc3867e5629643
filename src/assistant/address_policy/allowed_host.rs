//! An entry of the administrator's lists of hosts: those that assistants may have (`--allow-assistant-host`), and those that files are fetched from
//! (`--allow-file-host`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Host;

use super::AddressRange;

/// A host of such a list: `agent.acme.svc`, `*.acme.svc` (any name below it), `10.1.2.3` or `10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHost {
    /// A host name in lower case, without a final dot.
    Name(String),
    /// What the names end with: `.acme.svc` for `*.acme.svc`.
    Suffix(String),
    /// An address or a range.
    Range(AddressRange),
}

impl AllowedHost {
    /// Whether it names a host; `name` is in lower case, without a final dot.
    pub(in crate::assistant) fn matches_name(&self, name: &str) -> bool {
        match self {
            Self::Name(listed) => listed == name,
            Self::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            Self::Range(_) => false,
        }
    }

    /// Whether it has an address.
    pub(in crate::assistant) fn contains(&self, address: IpAddr) -> bool {
        matches!(self, Self::Range(range) if range.contains(address))
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(range) = text.parse() {
            return Ok(Self::Range(range));
        }
        let (name, any_below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match Host::parse(name.trim_end_matches('.')) {
            Ok(Host::Domain(name)) if !name.contains('*') && any_below => {
                Ok(Self::Suffix(format!(".{name}")))
            }
            Ok(Host::Domain(name)) if !name.contains('*') => Ok(Self::Name(name)),
            _ => Err(format!(
                "\"{text}\" is no host, no *.suffix of hosts, no address and no CIDR range; give agent.acme.svc, *.acme.svc, 10.1.2.3 or 10.0.0.0/8, without scheme, port and path"
            )),
        }
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Agent.Acme.svc.", "agent.acme.svc")]
    #[case("*.acme.svc", "*.acme.svc")]
    #[case("10.1.2.3", "10.1.2.3/32")]
    #[case("fd12::/16", "fd12::/16")]
    fn a_host_is_a_name_a_suffix_or_a_range(#[case] text: &str, #[case] shown: &str) {
        let parsed: AllowedHost = text.parse().expect("valid");
        assert_eq!(parsed.to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case("*")]
    #[case("*.")]
    #[case("a.*.svc")]
    #[case("http://agent.acme.svc/")]
    #[case("agent.acme.svc:8080")]
    fn anything_else_is_refused_with_examples(#[case] text: &str) {
        let error = text.parse::<AllowedHost>().expect_err("invalid");
        assert!(error.contains("*.acme.svc"), "{error}");
    }

    #[test]
    fn a_suffix_has_the_names_below_it_only() {
        let suffix: AllowedHost = "*.acme.svc".parse().expect("valid");
        assert!(suffix.matches_name("agent.acme.svc"));
        assert!(suffix.matches_name("a.b.acme.svc"));
        assert!(!suffix.matches_name("acme.svc"));
        assert!(!suffix.matches_name("evilacme.svc"));
    }
}
