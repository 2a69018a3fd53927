//! Where messages come from and go to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

impl Transport {
    /// The name in a Via.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// True for WebSocket, with or without TLS: only the peer opens such a connection.
    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// True where each datagram or WebSocket message is one SIP message: no Content-Length is needed to find its end
    /// (RFC 3261 section 18.3, RFC 7118 section 5.2).
    pub fn is_framed(self) -> bool {
        self == Transport::Udp || self.is_websocket()
    }

    /// True where the transport itself repeats what was lost: timers A, E, G are off and D, I, J, K are 0.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// The value of a URI's `transport` parameter; UDP has none. RFC 7118 section 5.3 knows `ws` only, inside TLS too.
    pub fn uri_param(self) -> Option<&'static str> {
        match self {
            Transport::Udp => None,
            Transport::Tcp => Some("tcp"),
            Transport::Tls => Some("tls"),
            Transport::Ws | Transport::Wss => Some("ws"),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names one flow for as long as the process lives; numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// One path to a peer: a UDP source address seen by one socket, or one TCP, TLS or WebSocket connection. Replies and
/// in-dialog requests use it, since the Contact of a device behind NAT cannot be reached (RFC 3581, RFC 5626).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub id: FlowId,
    pub transport: Transport,
    /// Our address as written into Via and Contact (with [`crate::EndpointConfig::advertised`] in place of its IP).
    pub local: SocketAddr,
    /// The peer's source address.
    pub peer: SocketAddr,
    pub profile: LinkProfile,
}

/// The timer values of a link (RFC 3261 section 17.1.1.1 and table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest interval between repeats of non-INVITE requests and INVITE responses.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
    /// Bytes above which a request should not go over UDP (RFC 3261 section 18.1.1).
    pub mtu: usize,
}

impl LinkProfile {
    /// T1 0.5 s, T2 4 s, T4 5 s, 1300 bytes: the RFC's defaults.
    pub const LAN: LinkProfile = LinkProfile {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        mtu: 1300,
    };

    /// T1 1.5 s, T2 8 s, T4 10 s, 1200 bytes: a geostationary link with 600 ms of round trip and queueing.
    pub const SATELLITE: LinkProfile = LinkProfile {
        t1: Duration::from_millis(1500),
        t2: Duration::from_secs(8),
        t4: Duration::from_secs(10),
        mtu: 1200,
    };

    /// 64*T1: the life of a transaction (timers B, F, H, J, L, M).
    pub fn t1x64(&self) -> Duration {
        self.t1 * 64
    }
}

impl Default for LinkProfile {
    fn default() -> LinkProfile {
        LinkProfile::LAN
    }
}

/// A network in CIDR notation (RFC 4632, RFC 4291 section 2.3); an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count: 0 to 32, or 128.
    prefix: u32,
}

impl Network {
    /// True for addresses inside; an IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                (u32::from(net) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                (u128::from(net) ^ u128::from(ip)) & mask == 0
            }
            _ => false,
        }
    }
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    #[error("not a network such as 10.8.0.0/16 or 2001:db8::/32")]
    Form,
    #[error("the address has bits behind the prefix: a typing mistake in one of them")]
    HostBits,
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().map_err(|_| BadNetwork::Form)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |p| p.trim().parse::<u32>()).map_err(|_| BadNetwork::Form)?;
        if prefix > bits {
            return Err(BadNetwork::Form);
        }
        let clean = match address {
            IpAddr::V4(a) => u32::from(a).checked_shl(prefix).unwrap_or(0) == 0,
            IpAddr::V6(a) => u128::from(a).checked_shl(prefix).unwrap_or(0) == 0,
        };
        if !clean {
            return Err(BadNetwork::HostBits);
        }
        Ok(Network { address, prefix })
    }
}

/// Where a request of ours goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A flow the peer opened or that was used before: the way to a registered device.
    Flow(FlowId),
    /// An address: a UDP flow, or the connection that is open to it, or a new one.
    Address(Transport, SocketAddr),
}
