//! The machine's own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of interfaces that are up, loopback last; IPv6 link-local ones left out. At most 32.
pub fn addresses() -> Vec<IpAddr> {
    let mut out: Vec<IpAddr> = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes a list that is read until freeifaddrs below; null is checked.
    if unsafe { libc::getifaddrs(&mut list) } == 0 {
        let mut at = list;
        while !at.is_null() && out.len() < 32 {
            // SAFETY: `at` is a node of the list.
            let node = unsafe { &*at };
            at = node.ifa_next;
            if node.ifa_addr.is_null() || node.ifa_flags & libc::IFF_UP as u32 == 0 {
                continue;
            }
            // SAFETY: not null; the family tells the type.
            let ip = match i32::from(unsafe { (*node.ifa_addr).sa_family }) {
                libc::AF_INET => {
                    // SAFETY: AF_INET is a sockaddr_in.
                    let a = unsafe { std::ptr::read_unaligned(node.ifa_addr.cast::<libc::sockaddr_in>()) };
                    IpAddr::V4(Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes()))
                }
                libc::AF_INET6 => {
                    // SAFETY: AF_INET6 is a sockaddr_in6.
                    let a = unsafe { std::ptr::read_unaligned(node.ifa_addr.cast::<libc::sockaddr_in6>()) };
                    IpAddr::V6(Ipv6Addr::from(a.sin6_addr.s6_addr))
                }
                _ => continue,
            };
            let link_local = matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xFFC0 == 0xFE80);
            if !link_local && !out.contains(&ip) {
                out.push(ip);
            }
        }
        // SAFETY: the list came from getifaddrs and is not used after.
        unsafe { libc::freeifaddrs(list) };
    }
    out.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    out
}
