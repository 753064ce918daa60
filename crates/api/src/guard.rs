//! Who may ask over TCP: a caller that knows the token, under a name that no stranger's page has.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::control::{Fault, FaultKind};
use crate::routes::Refusal;
use crate::token::Token;

/// Lets a request through when its `Host` and its token are right.
pub(crate) async fn guard(
    State(token): State<Arc<Token>>,
    request: Request,
    next: Next,
) -> Response {
    match check(&token, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(fault) => Refusal(fault).into_response(),
    }
}

fn check(token: &Token, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    // A request names its host in the header, in an absolute address, or in both: all must do.
    if host.is_none_or(|host| !is_safe_host(host)) || authority.is_some_and(|a| !is_safe_host(a)) {
        return Err(Fault::new(
            FaultKind::Denied,
            "the request names this machine by a domain name, as a hostile web page would",
        )
        .advise("use localhost or the IP address"));
    }
    let presented = headers
        .get(AUTHORIZATION)
        .map(axum::http::HeaderValue::as_bytes)
        .and_then(|value| value.strip_prefix(b"Bearer "));
    if presented.is_some_and(|presented| token.matches(presented)) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Denied, "the request does not carry this node's token")
        .advise("send Authorization: Bearer TOKEN; the token is in the file api-token in the home"))
}

/// Whether a page of a foreign site cannot have this host: a page that rebinds its own domain name
/// to this machine still sends that name.
fn is_safe_host(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.is_empty() => host,
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_safe_hosts() {
        for host in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8384", "192.168.1.2", "[::1]:1", "[::1]"]
        {
            assert!(is_safe_host(host), "{host}");
        }
    }

    #[test]
    fn domain_names_are_not() {
        for host in [
            "evil.example",
            "evil.example:8384",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "localhost:80:80",
            "user@localhost",
            "",
            ":80",
            "::1",
            "[evil]",
        ] {
            assert!(!is_safe_host(host), "{host}");
        }
    }
}
