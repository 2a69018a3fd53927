//! The port of a medium before its way stands: made before anything is said to the device, which may connect or send as soon as it
//! has heard of it.

use std::net::SocketAddr;
use std::time::Duration;

use bridge_core::Fault;
use media_core::gb::GbTransport;
use media_net::{PortLease, PortPool, RtpPair, RtpTcp, TcpError};
use tokio::net::TcpListener;

use crate::faults;

pub(crate) enum Ready {
    Udp(RtpPair),
    Listen(TcpListener, PortLease),
    /// We connect; the port in our SDP is only a number.
    Connect(PortLease),
}

/// A way that stands.
pub(crate) enum Stood {
    Udp(RtpPair),
    Tcp(RtpTcp, PortLease),
}

impl Ready {
    pub fn open(pool: &PortPool, transport: GbTransport) -> Result<Ready, Fault> {
        let ready = match transport {
            GbTransport::Udp => pool.udp().map(Ready::Udp),
            GbTransport::TcpPassive => pool.tcp().map(|(listener, lease)| Ready::Listen(listener, lease)),
            GbTransport::TcpActive => pool.reserve().map(Ready::Connect),
        };
        ready.map_err(|e| faults::no_port(&e.to_string()))
    }

    pub fn port(&self) -> u16 {
        match self {
            Ready::Udp(pair) => pair.lease.port(),
            Ready::Listen(_, lease) | Ready::Connect(lease) => lease.port(),
        }
    }

    /// Makes the connection, where there is one. `peer`: where the device says it listens. `within`: seconds.
    pub async fn stand(self, peer: SocketAddr, within: u32) -> Result<Stood, Fault> {
        let time = Duration::from_secs(u64::from(within));
        let (tcp, lease) = match self {
            Ready::Udp(pair) => return Ok(Stood::Udp(pair)),
            Ready::Listen(listener, lease) => (media_net::accept_one(listener, None, time).await, lease),
            Ready::Connect(lease) => {
                let got = tokio::time::timeout(time, media_net::connect(peer, None, Duration::from_secs(2))).await;
                (got.unwrap_or(Err(TcpError::NotConnected(time))), lease)
            }
        };
        let tcp = tcp.map_err(|e| faults::tcp_not_connected(within, &e.to_string()))?;
        Ok(Stood::Tcp(tcp, lease))
    }
}
