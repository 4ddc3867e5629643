//! Chooses the proxy to the API server of a kubeconfig.
//!
//! All other HTTP clients of this process obey `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. kube takes `HTTPS_PROXY` for the API server too, but
//! matches `NO_PROXY` against the proxy instead of the server. As kubectl does, we match it against the server, and use no proxy for loopback
//! addresses. A `proxy-url` in the kubeconfig overrides all of it; a Pod's own API server is always reached directly.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;

/// Replaces the proxy that kube chose by that of the rules above.
pub(crate) fn with_environment_proxy(mut config: Config) -> Config {
    let from_environment = ["HTTPS_PROXY", "https_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|proxy| !proxy.is_empty())
        .and_then(|proxy| proxy.parse().ok());
    config.proxy_url = choose_proxy(
        &config.cluster_url,
        config.proxy_url,
        from_environment.as_ref(),
        &Matcher::from_env(),
    );
    config
}

/// `found` is the proxy that kube found, in the kubeconfig or in the environment.
fn choose_proxy(
    server: &Uri,
    found: Option<Uri>,
    from_environment: Option<&Uri>,
    environment: &Matcher,
) -> Option<Uri> {
    let found = found?;
    if Some(&found) != from_environment {
        return Some(found);
    }
    if is_loopback(server) {
        return None;
    }
    let through = environment.intercept(server)?;
    // `proxy:3128` is accepted as a proxy, but kube cannot use it as a URI. If it has a scheme, keep it: the matcher drops name and password.
    Some(if found.scheme().is_some() {
        found
    } else {
        through.uri().clone()
    })
}

fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_the_environment_says("https://10.0.0.1:6443", "", Some("http://proxy:3128"))]
    #[case::the_server_is_excepted("https://10.0.0.1:6443", "10.0.0.0/8", None)]
    #[case::by_name("https://k8s.acme.example", ".acme.example", None)]
    #[case::the_proxy_is_no_server("https://10.0.0.1:6443", "proxy", Some("http://proxy:3128"))]
    #[case::this_machine("https://127.0.0.1:6443", "", None)]
    #[case::this_machine_by_name("https://localhost:6443", "", None)]
    #[case::this_machine_by_ipv6("https://[::1]:6443", "", None)]
    fn environment_proxy_applies_except_for_no_proxy(
        #[case] server: &str,
        #[case] no_proxy: &str,
        #[case] expected: Option<&str>,
    ) {
        let proxy: Uri = "http://proxy:3128".parse().expect("a URI");
        let environment = Matcher::builder()
            .https(proxy.to_string())
            .no(no_proxy)
            .build();
        let server = server.parse().expect("a URI");
        let way = choose_proxy(&server, Some(proxy.clone()), Some(&proxy), &environment);
        assert_eq!(way, expected.map(|e| e.parse().expect("a URI")));
    }

    #[test]
    fn proxy_without_a_scheme_is_accepted() {
        let proxy: Uri = "proxy:3128".parse().expect("a URI");
        let environment = Matcher::builder().https("proxy:3128").build();
        let server = "https://10.0.0.1".parse().expect("a URI");
        let way = choose_proxy(&server, Some(proxy.clone()), Some(&proxy), &environment);
        let way = way.expect("a proxy");
        assert_eq!(way.scheme_str(), Some("http"));
        assert_eq!(
            way.authority().map(http::uri::Authority::as_str),
            Some("proxy:3128")
        );
    }

    #[test]
    fn kubeconfig_proxy_overrides_the_environment() {
        let own: Uri = "http://own:8080".parse().expect("a URI");
        let other: Uri = "http://proxy:3128".parse().expect("a URI");
        let environment = Matcher::builder()
            .https("http://proxy:3128")
            .no("*")
            .build();
        let server = "https://127.0.0.1:6443".parse().expect("a URI");
        let way = choose_proxy(&server, Some(own.clone()), Some(&other), &environment);
        assert_eq!(way, Some(own));
        assert_eq!(
            choose_proxy(&server, None, Some(&other), &environment),
            None
        );
    }
}
