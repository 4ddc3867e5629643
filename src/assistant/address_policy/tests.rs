//! The table of docs/security.md: an entry per refused range, and every spelling in which an address can be hidden.

use rstest::rstest;

use super::reserved::RESERVED;
use super::*;

fn url(text: &str) -> Url {
    text.parse().expect("a URL")
}

fn ranges(texts: &[&str]) -> Vec<AddressRange> {
    let parse = |text: &&str| text.parse().expect("a range");
    texts.iter().map(parse).collect()
}

#[rstest]
#[case("http://169.254.169.254/latest")]
#[case("http://169.254.170.2/")]
#[case("http://169.254.170.23/")]
#[case("http://169.254.0.23/")]
#[case("http://100.100.100.200/")]
#[case("http://168.63.129.16/")]
#[case("http://192.0.0.192/")]
#[case("http://[fd00:ec2::254]/")]
#[case("http://[fd00:ec2::23]/")]
#[case("http://[fd20:ce::254]/")]
#[case("http://[fd00:42::42]/")]
#[case("http://[fd00:a9fe:a9fe::1]/")]
#[case("http://[fd00:c1::a9fe:a9fe]/")]
#[case("http://[fe80::a9fe:a9fe]/")]
#[case("http://metadata/computeMetadata/v1")]
#[case("http://metadata.google.internal/computeMetadata/v1")]
#[case("http://METADATA.google.internal./")]
#[case::hexadecimal("http://0xA9FEA9FE/")]
#[case::decimal("http://2852039166/")]
#[case::octal("http://0251.0376.0251.0376/")]
#[case::ipv4_mapped("http://[::ffff:169.254.169.254]/")]
#[case::ipv4_translated("http://[::ffff:0:169.254.169.254]/")]
#[case::ipv4_compatible("http://[::169.254.169.254]/")]
#[case::nat64("http://[64:ff9b::a9fe:a9fe]/")]
#[case::nat64_for_local_use("http://[64:ff9b:1::a9fe:a9fe]/")]
#[case::six_to_four("http://[2002:a9fe:a9fe::1]/")]
#[case::teredo_client("http://[2001:0:808:808:0:0:5601:5601]/")]
#[case::teredo_server("http://[2001:0:a9fe:a9fe::]/")]
#[case::isatap("http://[2001:db8::200:5efe:a9fe:a9fe]/")]
fn metadata_services_are_refused_in_every_spelling(#[case] text: &str) {
    let refused = AddressPolicy::default()
        .check_url(&url(text))
        .expect_err(text);
    assert_eq!(refused.reason, RefusalReason::Metadata, "{text}");
}

#[rstest]
#[case("http://127.0.0.1:8080/metrics")]
#[case("http://127.1:8080/")]
#[case("http://127.255.255.254/")]
#[case("http://2130706433/")]
#[case("http://0x7f.1/")]
#[case("http://[::1]:8080/")]
#[case("http://[::ffff:127.0.0.1]/")]
#[case("http://[::ffff:0:127.0.0.1]/")]
#[case("http://[::127.0.0.1]/")]
#[case("http://[64:ff9b::7f00:1]/")]
#[case("http://[2002:7f00:1::]/")]
#[case("http://localhost:8080/")]
#[case("http://LocalHost./")]
#[case("http://anything.localhost/")]
fn loopback_is_refused_in_every_spelling(#[case] text: &str) {
    let refused = AddressPolicy::default()
        .check_url(&url(text))
        .expect_err(text);
    assert_eq!(refused.reason, RefusalReason::Loopback, "{text}");
    let dev = AddressPolicy::allowing(ranges(&["127.0.0.0/8", "::1"]));
    assert_eq!(dev.check_url(&url(text)), Ok(()), "{text}");
}

#[rstest]
#[case("http://169.254.1.1/", RefusalReason::LinkLocal)]
#[case("http://[fe80::1]/", RefusalReason::LinkLocal)]
#[case("http://[febf::1]/", RefusalReason::LinkLocal)]
#[case("http://0.0.0.0/", RefusalReason::NoHost)]
#[case("http://0.1.2.3/", RefusalReason::NoHost)]
#[case("http://[::]/", RefusalReason::NoHost)]
#[case("http://[::ffff:0.0.0.0]/", RefusalReason::NoHost)]
#[case("http://224.0.0.1/", RefusalReason::NoHost)]
#[case("http://239.255.255.250/", RefusalReason::NoHost)]
#[case("http://[ff02::1]/", RefusalReason::NoHost)]
#[case("http://255.255.255.255/", RefusalReason::NoHost)]
fn addresses_of_no_single_remote_host_are_refused(
    #[case] text: &str,
    #[case] reason: RefusalReason,
) {
    let refused = AddressPolicy::default()
        .check_url(&url(text))
        .expect_err(text);
    assert_eq!(refused.reason, reason, "{text}");
}

#[rstest]
#[case("http://10.0.0.7/")]
#[case("http://192.168.1.1/")]
#[case("http://172.16.0.1/")]
#[case("http://100.64.0.1/")]
#[case("http://[fd12:3456::1]/")]
#[case("http://agent.acme.svc:8080/v1")]
#[case("https://api.openai.com/v1")]
#[case("https://8.8.8.8/")]
#[case("https://[2606:4700::1111]/")]
#[case("https://[64:ff9b::808:808]/")]
fn services_in_the_cluster_and_outside_are_allowed(#[case] text: &str) {
    assert_eq!(AddressPolicy::default().check_url(&url(text)), Ok(()));
}

#[test]
fn exceptions_open_exactly_what_they_name() {
    let policy = AddressPolicy::allowing(ranges(&["169.254.20.0/24"]));
    let allowed = |text| policy.check_url(&url(text)).is_ok();
    assert!(allowed("http://169.254.20.10/"));
    assert!(allowed("http://[::ffff:169.254.20.10]/"));
    assert!(!allowed("http://169.254.169.254/"));
    assert!(!allowed("http://metadata.google.internal/"));
    assert!(!allowed("http://127.0.0.1/"));
}

#[rstest]
#[case("http://10.1.2.3:8080/", true)]
#[case("http://[::ffff:10.1.2.3]:8080/", true)]
#[case("http://[64:ff9b::10.1.2.3]/", true)]
#[case("http://[fd12::5]/", true)]
#[case("http://10.1.2.4/", false)]
fn the_pods_and_the_nodes_addresses_are_refused(#[case] text: &str, #[case] refused: bool) {
    let own = ["10.1.2.3", "fd12::5"].map(|ip| ip.parse().expect("an address"));
    let policy = AddressPolicy::default().with_own_addresses(own.to_vec());
    let found = policy.check_url(&url(text)).err();
    assert_eq!(
        found.map(|refused| refused.reason),
        refused.then_some(RefusalReason::Own)
    );
}

#[test]
fn denied_ranges_are_refused_except_for_exceptions() {
    let policy = AddressPolicy::allowing(ranges(&["10.5.0.0/16"]))
        .denying(ranges(&["10.0.0.0/8", "fd00::/8"]));
    let reason = |text| policy.check_url(&url(text)).err().map(|r| r.reason);
    assert_eq!(reason("http://10.1.0.1/"), Some(RefusalReason::Denied));
    assert_eq!(
        reason("http://[2002:a01:1::]/"),
        Some(RefusalReason::Denied)
    );
    assert_eq!(reason("http://[fd99::1]/"), Some(RefusalReason::Denied));
    assert_eq!(reason("http://10.5.0.1/"), None);
    assert_eq!(reason("http://192.168.0.1/"), None);
}

#[rstest]
#[case("http://agent.acme.svc/", true)]
#[case("http://AGENT.acme.svc./", true)]
#[case("https://eu.api.example/", true)]
#[case("http://10.1.2.3/", true)]
#[case("http://other.svc/", false)]
#[case("https://api.example/", false)]
#[case("http://10.2.0.1/", false)]
#[case("http://127.0.0.1/", false)]
fn with_a_list_of_hosts_nothing_else_is_called(#[case] text: &str, #[case] allowed: bool) {
    let hosts = |list: &[&str]| list.iter().map(|h| h.parse().expect("a host")).collect();
    let names = ["agent.acme.svc", "*.api.example"];
    let policy = AddressPolicy::default().only(hosts(&[&names[..], &["10.1.0.0/16"]].concat()));
    let is_name = url(text).domain().is_some();
    // With a range on the list only the resolver can tell of a name.
    assert_eq!(
        policy.check_url(&url(text)).is_ok(),
        allowed || is_name,
        "{text}"
    );
    if is_name {
        let policy = AddressPolicy::default().only(hosts(&names));
        assert_eq!(policy.check_url(&url(text)).is_ok(), allowed, "{text}");
    }
}

#[rstest]
#[case::behind_the_proxy("http://other.svc/", false)]
#[case::direct("http://other.direct.svc/", true)]
#[case::listed_name("http://agent.acme.svc/", true)]
#[case::listed_address("http://10.1.2.3/", true)]
fn names_that_a_proxy_resolves_are_in_no_range_of_the_list(
    #[case] text: &str,
    #[case] allowed: bool,
) {
    let hosts = ["10.1.0.0/16", "agent.acme.svc"].map(|h| h.parse().expect("a host"));
    let matcher = Matcher::builder()
        .all("http://proxy.local:3128")
        .no(".direct.svc")
        .build();
    let policy = AddressPolicy::default()
        .only(hosts.to_vec())
        .with_proxies(matcher);
    assert_eq!(policy.check_url(&url(text)).is_ok(), allowed);
}

#[test]
fn loopback_stays_refused_where_a_list_names_it() {
    let policy = AddressPolicy::default().only(vec!["127.0.0.0/8".parse().expect("a range")]);
    assert!(policy.check_url(&url("http://127.0.0.1/")).is_err());
}

#[rstest]
#[case("169.254.20.10", "169.254.20.10/32")]
#[case("fe80::/10", "fe80::/10")]
#[case(" 10.1.2.3/8 ", "10.0.0.0/8")]
fn a_range_is_an_address_or_a_cidr(#[case] text: &str, #[case] shown: &str) {
    let parsed: AddressRange = text.parse().expect("valid");
    assert_eq!(parsed.to_string(), shown);
    assert!("metadata".parse::<AddressRange>().is_err());
}

#[test]
fn the_documentation_lists_every_refused_range_and_no_other() {
    let documented: Vec<String> = include_str!("../../../docs/security.md")
        .lines()
        .skip_while(|line| !line.starts_with("| refused range"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1).map(str::to_owned))
        .collect();
    let refused: Vec<String> = RESERVED
        .iter()
        .map(|(range, _)| range.to_string())
        .collect();
    assert_eq!(documented, refused);
}
