//! Socket addresses to and from the form of the kernel.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Room for an IPv4 or IPv6 address, aligned for both.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union RawAddr {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddr {
    pub const LEN: libc::socklen_t = size_of::<RawAddr>() as libc::socklen_t;

    pub const fn empty() -> Self {
        RawAddr {
            v6: libc::sockaddr_in6 {
                sin6_family: 0,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            },
        }
    }

    /// The kernel's form and its length.
    pub fn new(addr: SocketAddr) -> (Self, libc::socklen_t) {
        let mut raw = Self::empty();
        match addr {
            SocketAddr::V4(a) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: a.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(a) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: a.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                    sin6_scope_id: a.scope_id(),
                };
                (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }

    /// Back to the form of std; None for other families. IPv4 mapped into IPv6 comes back as IPv4.
    pub fn to_std(self) -> Option<SocketAddr> {
        // SAFETY: all 28 bytes are always initialised (by `empty` or by the kernel over it), every field is plain integers,
        // and the family stands at the same place in both forms.
        unsafe {
            match i32::from(self.family) {
                libc::AF_INET => Some(SocketAddr::new(
                    Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes()).into(),
                    u16::from_be(self.v4.sin_port),
                )),
                libc::AF_INET6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    match ip.to_ipv4_mapped() {
                        Some(v4) => Some(SocketAddr::new(v4.into(), port)),
                        None => Some(SocketAddrV6::new(ip, port, self.v6.sin6_flowinfo, self.v6.sin6_scope_id).into()),
                    }
                }
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn there_and_back() {
        for a in ["10.1.2.3:40000", "[2001:db8::1]:5060", "[fe80::1%3]:1"] {
            let a: SocketAddr = a.parse().unwrap();
            assert_eq!(RawAddr::new(a).0.to_std(), Some(a));
        }
        assert_eq!(RawAddr::empty().to_std(), None);
    }
}
