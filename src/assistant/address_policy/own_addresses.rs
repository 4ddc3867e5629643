//! The addresses of the operator's Pod and its node, which no assistant may have: the admin endpoint, sidecars, the kubelet and whatever else of the
//! node listens there.

use std::net::IpAddr;

/// Variables of the downward API, which the chart sets: `status.podIPs`, and `status.hostIP` or `status.hostIPs`; lists are separated by commas.
const VARIABLES: [&str; 4] = ["POD_IP", "POD_IPS", "HOST_IP", "HOST_IPS"];

/// The addresses of this machine's interfaces, and those that `POD_IP`, `POD_IPS`, `HOST_IP` and `HOST_IPS` name.
///
/// # Errors
/// The interfaces cannot be listed, or a variable holds no address.
pub(crate) fn own_addresses() -> Result<Vec<IpAddr>, String> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()
        .map_err(|e| format!("the addresses of this machine cannot be listed: {e}"))?
        .iter()
        .map(if_addrs::Interface::ip)
        .collect();
    for name in VARIABLES {
        let value = std::env::var(name).unwrap_or_default();
        addresses.extend(parse_list(&value).map_err(|e| format!("{name}: {e}"))?);
    }
    Ok(addresses)
}

fn parse_list(value: &str) -> Result<Vec<IpAddr>, String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .map_err(|_| format!("\"{text}\" is no IP address"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_the_downward_api_is_read() {
        let addresses = ["10.1.2.3", "fd12::1"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(parse_list("10.1.2.3,fd12::1"), Ok(addresses.to_vec()));
        assert_eq!(parse_list(""), Ok(Vec::new()));
        let error = parse_list("node-1").expect_err("no address");
        assert!(error.contains("node-1"), "{error}");
    }

    #[test]
    fn the_interfaces_of_this_machine_are_found() {
        let found = own_addresses().expect("listed");
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
    }
}
