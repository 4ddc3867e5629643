//! Opens the sockets of the HTTP listeners: both address families where there are two, IPv4 where there is no IPv6.
//!
//! An IPv6-only cluster's probes reach a Pod by IPv6 alone, and a node may have IPv6 switched off: `[::]` is what the program and the chart listen
//! at by default, and has to work on both.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens at `address`, within a tokio runtime. `[::]` takes IPv4 too, and becomes `0.0.0.0` with the same port where there is no IPv6.
///
/// # Errors
/// The address cannot be listened at, for instance because its port is in use.
pub(crate) fn bind_listener(address: SocketAddr) -> io::Result<TcpListener> {
    bind_or_fall_back(address, open)
}

/// Listens by `open` at `address`, or at `0.0.0.0` if `address` is `[::]` and fails for another reason than its port.
fn bind_or_fall_back<L>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<L>,
) -> io::Result<L> {
    match open(address) {
        Err(error)
            if address.is_ipv6() && address.ip().is_unspecified() && !is_about_port(&error) =>
        {
            let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            tracing::warn!(%address, %error, "failed to listen at IPv6; listening at {fallback} instead");
            open(fallback)
        }
        opened => opened,
    }
}

/// Whether IPv4 fails as well, or would listen beside another program that has the port.
fn is_about_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Whatever the node's net.ipv6.bindv6only says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn unspecified_ipv6_address_takes_both_families() {
        let listener = bind_listener("[::]:0".parse().unwrap()).unwrap();
        let bound = listener.local_addr().unwrap();
        let mut families = vec![SocketAddr::from(([127, 0, 0, 1], bound.port()))];
        if bound.is_ipv6() {
            families.push(SocketAddr::from((
                std::net::Ipv6Addr::LOCALHOST,
                bound.port(),
            )));
        }
        for address in families {
            // The kernel's queue takes it before it is accepted.
            TcpStream::connect(address).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_canonical(), address.ip());
        }
    }

    #[test]
    fn without_ipv6_the_same_port_of_ipv4_is_listened_at() {
        let asked = RefCell::new(Vec::new());
        let bind = |address: &str, failure: io::ErrorKind| {
            asked.borrow_mut().clear();
            bind_or_fall_back(address.parse().unwrap(), |address| {
                asked.borrow_mut().push(address.to_string());
                if address.is_ipv6() {
                    Err(failure.into())
                } else {
                    Ok(address)
                }
            })
        };
        // EAFNOSUPPORT has no kind of its own.
        for failure in [
            io::ErrorKind::Other,
            io::ErrorKind::AddrNotAvailable,
            io::ErrorKind::Unsupported,
        ] {
            let bound = bind("[::]:8080", failure).unwrap();
            assert_eq!(bound.to_string(), "0.0.0.0:8080", "{failure}");
        }
        assert!(bind("[::]:8080", io::ErrorKind::AddrInUse).is_err());
        assert_eq!(*asked.borrow(), ["[::]:8080"]);
        assert!(bind("[fd00::1]:8080", io::ErrorKind::AddrNotAvailable).is_err());
        assert_eq!(*asked.borrow(), ["[fd00::1]:8080"], "an address of its own");
    }

    #[tokio::test]
    async fn port_in_use_is_an_error() {
        let first = bind_listener("[::]:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let second = bind_listener(address).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
