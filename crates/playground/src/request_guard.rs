//! Which requests are refused. The page has no login: what keeps it private is that it listens on loopback, and that other web pages in the
//! same browser can neither read it (a foreign `Host`: DNS rebinding) nor click on it (a foreign `Origin`: CSRF).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Scripts and styles come from this server only, none of them inline; no other page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses foreign requests, and adds the headers that bind the browser.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Why a request is refused; `None`: it is not.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text(&HOST).unwrap_or("");
    if !names_loopback(host) {
        return Some("refused: the Host is not this machine; open the address that `dev` printed");
    }
    let foreign_origin =
        text(&ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host));
    let foreign_site = method != Method::GET
        && text(&SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    (foreign_origin || foreign_site).then_some("refused: the request comes from another page")
}

/// Whether a `Host` header names this machine, at any port (it may be forwarded).
fn names_loopback(host: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, headers: &[(HeaderName, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        refusal(&method, &headers).is_some()
    }

    #[test]
    fn only_hosts_of_loopback_are_served() {
        for host in [
            "127.0.0.1:4000",
            "localhost:4000",
            "[::1]:4000",
            "localhost",
        ] {
            assert!(!refused(Method::GET, &[(HOST, host)]), "{host}");
        }
        for host in [
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.168.0.7:4000",
            "evil.example@127.0.0.1:x",
            "",
        ] {
            assert!(refused(Method::GET, &[(HOST, host)]), "{host}");
        }
        assert!(refused(Method::GET, &[]));
    }

    #[test]
    fn requests_of_other_pages_are_refused() {
        let host = (HOST, "127.0.0.1:4000");
        let post = |more: &[(HeaderName, &str)]| {
            let mut headers = vec![host.clone()];
            headers.extend_from_slice(more);
            refused(Method::POST, &headers)
        };
        assert!(!post(&[]));
        assert!(!post(&[(ORIGIN, "http://127.0.0.1:4000")]));
        assert!(!post(&[(SEC_FETCH_SITE, "same-origin")]));
        for origin in [
            "http://127.0.0.1:4001",
            "http://localhost:4000",
            "https://127.0.0.1:4000",
            "https://evil.example",
            "null",
        ] {
            assert!(post(&[(ORIGIN, origin)]), "{origin}");
        }
        assert!(post(&[(SEC_FETCH_SITE, "cross-site")]));
        assert!(post(&[(SEC_FETCH_SITE, "same-site")]));
        // A link on another page may open this one.
        assert!(!refused(
            Method::GET,
            &[host.clone(), (SEC_FETCH_SITE, "cross-site")]
        ));
    }
}
