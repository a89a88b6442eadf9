//! Addresses that a source may not lead us to: link-local ones and the metadata
//! services of clouds. Refused for literal hosts and at each name resolution,
//! so that a name that changes its address between two requests gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::FetchError;

/// Metadata services outside the link-local ranges: AWS over IPv6, Alibaba, Oracle.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Whether an address is link-local or a metadata service, in any of its spellings.
pub fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            (v6.segments()[0] & 0xffc0) == 0xfe80
                || v6 == METADATA_V6
                || embedded(v6).is_some_and(|v4| forbidden(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 one.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let join = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => Some(join(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(join(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// Refuses a URL whose host is written as one of those addresses; names are looked at when they are resolved.
pub fn refuse_literal(url: &Url) -> Result<(), FetchError> {
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    if forbidden(address) {
        let host = url.host_str().unwrap_or_default().to_owned();
        return Err(FetchError::AddressRefused { host, address });
    }
    Ok(())
}

/// The error that the resolver raises; found again in the chain of the HTTP error.
#[derive(Debug)]
pub(super) struct Refused(pub IpAddr);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address {} is refused", self.0)
    }
}

impl std::error::Error for Refused {}

type Lookup = dyn Fn(&str) -> std::io::Result<Vec<SocketAddr>> + Send + Sync;

/// The system's resolver, minus the refused addresses.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Lookup>);

impl Resolver {
    pub fn system() -> Self {
        Self(Arc::new(|name| {
            (name, 0).to_socket_addrs().map(Iterator::collect)
        }))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || lookup(name.as_str())).await??;
            Ok(screen(found)?)
        })
    }
}

/// One refused address is enough: a name that leads to it is not to be trusted.
fn screen(found: Vec<SocketAddr>) -> Result<Addrs, Refused> {
    match found.iter().find(|address| forbidden(address.ip())) {
        Some(address) => Err(Refused(address.ip())),
        None => Ok(Box::new(found.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_a_link_local_address_is_refused() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|t| t.parse().expect("address")).collect()
        };
        assert!(screen(addresses(&["192.0.2.1:0", "169.254.169.254:0"])).is_err());
        assert!(screen(addresses(&["[fe80::1]:0"])).is_err());
        let kept = screen(addresses(&["192.0.2.1:0", "[2001:db8::1]:0"])).expect("kept");
        assert_eq!(kept.count(), 2);
    }
}
