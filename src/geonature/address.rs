//! Addresses that a source may not lead us to: link-local ones and the metadata
//! services of clouds. Refused for literal hosts and at each name resolution,
//! so that a name that changes its address between two requests gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::control::Spawn;
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

/// The system's resolver, minus the refused addresses. Each name is looked up in a
/// thread of its own, which nobody waits for: a lookup can not be interrupted.
pub(super) struct Resolver {
    spawn: Spawn,
    screened: bool,
}

impl Resolver {
    pub fn system(spawn: Spawn, screened: bool) -> Self {
        Self { spawn, screened }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let screened = self.screened;
        let lookup = Lookup::start(self.spawn, move || {
            (name.as_str(), 0)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>)
        });
        Box::pin(async move {
            let found = lookup?.await?;
            if screened {
                screen(&found)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What comes out of a thread, as something to be awaited.
struct Lookup<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T: Send + 'static> Lookup<T> {
    fn start(spawn: Spawn, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Self> {
        let slot = Arc::new(Mutex::new(Slot {
            value: None,
            waker: None,
        }));
        let answer = Arc::clone(&slot);
        let work = move || {
            let value = work();
            let waker = {
                let mut slot = answer.lock().unwrap_or_else(PoisonError::into_inner);
                slot.value = Some(value);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        spawn("gn_harvest dns".to_owned(), Box::new(work))?;
        Ok(Self(slot))
    }
}

impl<T> Future for Lookup<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(value);
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One refused address is enough: a name that leads to it is not to be trusted.
fn screen(found: &[SocketAddr]) -> Result<(), Refused> {
    match found.iter().find(|address| forbidden(address.ip())) {
        Some(address) => Err(Refused(address.ip())),
        None => Ok(()),
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
        assert!(screen(&addresses(&["192.0.2.1:0", "169.254.169.254:0"])).is_err());
        assert!(screen(&addresses(&["[fe80::1]:0"])).is_err());
        assert!(screen(&addresses(&["192.0.2.1:0", "[2001:db8::1]:0"])).is_ok());
    }
}
