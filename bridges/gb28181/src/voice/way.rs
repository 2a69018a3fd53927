//! The way of the sound: a pair of UDP ports, or one TCP connection with RFC 4571 framing.

use std::net::{IpAddr, SocketAddr};

use media_hub::Fault;
use media_net::{Batch, PortLease, RtpPair, RtpTcp, TcpError};

use crate::ready::{Ready, Stood};

/// An open way.
pub(super) enum Way {
    Udp { pair: RtpPair, to: SocketAddr, hosts: Vec<IpAddr>, batch: Box<Batch> },
    Tcp { tcp: RtpTcp, _lease: PortLease },
}

impl Way {
    /// `to`: where the device listens. `hosts`: addresses of the device, from which its true one is learned. `within`: seconds.
    pub async fn connect(ready: Ready, to: SocketAddr, hosts: Vec<IpAddr>, within: u32) -> Result<Way, Fault> {
        Ok(match ready.stand(to, within).await? {
            Stood::Udp(pair) => Way::Udp { pair, to, hosts, batch: Box::default() },
            Stood::Tcp(tcp, lease) => Way::Tcp { tcp, _lease: lease },
        })
    }

    /// Sends packets. Over UDP one that cannot be sent is lost, as the network might. Not cancel-safe.
    pub async fn send(&mut self, packets: &[&[u8]]) -> Result<(), TcpError> {
        match self {
            Way::Udp { pair, to, .. } => {
                for packet in packets {
                    let _ = pair.rtp.socket().try_send_to(packet, *to);
                }
                Ok(())
            }
            Way::Tcp { tcp, .. } => tcp.writer.send(packets).await,
        }
    }

    /// Waits for what the device sends; an error is the end of the connection. Cancel-safe. Then take it by [`Way::each`].
    pub async fn read(&mut self) -> Result<(), String> {
        match self {
            Way::Udp { pair, batch, .. } => pair.rtp.recv(batch).await.map(|_| ()).map_err(|e| e.to_string()),
            Way::Tcp { tcp, .. } => match tcp.reader.fill().await {
                Ok(true) => Ok(()),
                Ok(false) => Err("设备关闭了连接 / closed by the device".into()),
                Err(e) => Err(e.to_string()),
            },
        }
    }

    /// Gives the RTP packets read. A datagram from one of the device's hosts shows where it really is.
    pub fn each(&mut self, mut take: impl FnMut(&[u8])) {
        match self {
            Way::Udp { batch, to, hosts, .. } => {
                for (data, from) in batch.iter() {
                    if !hosts.contains(&from.ip()) {
                        continue;
                    }
                    *to = from;
                    if !media_core::rtp::is_rtcp(data) {
                        take(data);
                    }
                }
            }
            Way::Tcp { tcp, .. } => {
                while let Some(framed) = tcp.reader.buffered() {
                    if !framed.rtcp {
                        take(framed.data);
                    }
                }
            }
        }
    }

    pub fn words(&self) -> String {
        match self {
            Way::Udp { to, .. } => format!("UDP to {to}"),
            Way::Tcp { tcp, .. } => format!("TCP with {}", tcp.peer),
        }
    }
}

/// Whether an address in an SDP can be the device's: behind NAT it names one of its own network, which is not ours.
pub(super) fn reachable(named: IpAddr, source: IpAddr) -> bool {
    let private = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    !named.is_unspecified() && (!private(named) || private(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_believed_within_private_networks_only() {
        let ip = |last| IpAddr::from([192, 168, 8, last]);
        let public = IpAddr::from([203, 0, 113, 9]);
        assert!(reachable(ip(20), ip(1)) && reachable(public, ip(1)) && reachable(public, public));
        assert!(!reachable(ip(20), public) && !reachable(IpAddr::from([0, 0, 0, 0]), ip(1)));
    }
}
