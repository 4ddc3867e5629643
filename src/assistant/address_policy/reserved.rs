//! The address ranges that no assistant may have by default, and the IPv4 addresses that IPv6 addresses hide. One line per range: docs/security.md
//! shows the same table, and a test compares them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::RefusalReason::{self, LinkLocal, Loopback, Metadata, NoHost};

/// A refused range and the reason; the first range that contains an address gives the reason.
pub(super) const RESERVED: &[(IpNet, RefusalReason)] = &[
    // AWS, Azure, GCP, OpenStack and most others; AWS ECS; EKS Pod Identity; Tencent.
    (v4([169, 254, 169, 254], 32), Metadata),
    (v4([169, 254, 170, 2], 32), Metadata),
    (v4([169, 254, 170, 23], 32), Metadata),
    (v4([169, 254, 0, 23], 32), Metadata),
    // Alibaba Cloud; Azure's WireServer; Oracle Cloud Classic.
    (v4([100, 100, 100, 200], 32), Metadata),
    (v4([168, 63, 129, 16], 32), Metadata),
    (v4([192, 0, 0, 192], 32), Metadata),
    (v4([169, 254, 0, 0], 16), LinkLocal),
    (v4([127, 0, 0, 0], 8), Loopback),
    // Linux connects 0.0.0.0 to loopback.
    (v4([0, 0, 0, 0], 8), NoHost),
    (v4([224, 0, 0, 0], 4), NoHost),
    (v4([255, 255, 255, 255], 32), NoHost),
    // AWS (instance metadata and EKS Pod Identity); GCP; Scaleway; Linode; Oracle Cloud; OpenStack.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), Metadata),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Metadata),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), Metadata),
    (v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128), Metadata),
    (
        v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128),
        Metadata,
    ),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), Metadata),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LinkLocal),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), NoHost),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), NoHost),
];

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), prefix))
}

const fn v6(segments: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::from_segments(segments),
        prefix,
    ))
}

/// Why an address is refused by default, if it is. [`destinations`] are judged one by one.
pub(super) fn reserved_reason(address: IpAddr) -> Option<RefusalReason> {
    let found = RESERVED.iter().find(|(range, _)| range.contains(&address));
    found.map(|(_, reason)| *reason)
}

/// The addresses that packets to `address` may end at: itself, and the IPv4 addresses that it embeds for a translator or a tunnel. Where more
/// than one reading is possible there is each of them.
pub(super) fn destinations(address: IpAddr) -> Vec<IpAddr> {
    let canonical = address.to_canonical();
    let mut destinations = vec![canonical];
    if let IpAddr::V6(ip) = canonical {
        destinations.extend(embedded_ipv4(ip).into_iter().map(IpAddr::V4));
    }
    destinations
}

fn embedded_ipv4(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let from_halves =
        |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // NAT64's well-known prefix, RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 6to4, RFC 3056.
        | [0x2002, high, low, ..]
        // IPv4-translated, RFC 2765.
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        // ISATAP, RFC 5214, under any prefix.
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![from_halves(high, low)],
        // Teredo, RFC 4380: the server's address, and the client's with its bits inverted.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            vec![from_halves(server_high, server_low), from_halves(!high, !low)]
        }
        // IPv4-compatible, RFC 4291 2.5.5.1; but not :: and ::1.
        [0, 0, 0, 0, 0, 0, high, low] if ip.to_bits() > 1 => vec![from_halves(high, low)],
        // NAT64's prefix for local use, RFC 8215: the network chooses the length of its own prefix below it.
        [0x64, 0xff9b, 1, ..] => local_nat64_readings(ip),
        _ => Vec::new(),
    }
}

/// The IPv4 addresses that an address of `64:ff9b:1::/48` holds under each prefix length of RFC 6052 (section 2.2); bits 64 to 71 and those behind the
/// IPv4 address are zero.
fn local_nat64_readings(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let o = ip.octets();
    let readings = [
        ([o[6], o[7], o[9], o[10]], &o[11..]),
        ([o[7], o[9], o[10], o[11]], &o[12..]),
        ([o[9], o[10], o[11], o[12]], &o[13..]),
        ([o[12], o[13], o[14], o[15]], &[][..]),
    ];
    readings
        .into_iter()
        .filter(|(v4, behind)| *v4 != [0; 4] && behind.iter().all(|octet| *octet == 0))
        .map(|(v4, _)| Ipv4Addr::from(v4))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::prefix_48("64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254")]
    #[case::prefix_56("64:ff9b:1:aa:fe:a9fe::", "170.254.169.254")]
    #[case::prefix_64("64:ff9b:1:aabb:a9:fea9:fe00:0", "169.254.169.254")]
    #[case::prefix_96("64:ff9b:1::a9fe:a9fe", "169.254.169.254")]
    #[case::teredo_client("2001:0:4136:e378:8000:63bf:5601:5601", "169.254.169.254")]
    #[case::teredo_server("2001:0:a9fe:a9fe::", "169.254.169.254")]
    #[case::isatap("2001:db8::5efe:a9fe:a9fe", "169.254.169.254")]
    fn embedded_address_is_a_destination(#[case] address: &str, #[case] embedded: &str) {
        let found = destinations(address.parse().expect("an address"));
        let embedded: IpAddr = embedded.parse().expect("an address");
        assert!(found.contains(&embedded), "{found:?}");
    }

    #[test]
    fn public_address_behind_local_nat64_has_no_refused_reading() {
        let address = "64:ff9b:1::808:808".parse().expect("an address");
        let found = destinations(address);
        assert_eq!(
            found.iter().find_map(|ip| reserved_reason(*ip)),
            None,
            "{found:?}"
        );
    }
}
