//! The sockets of a session: a pair of UDP ports, or one TCP connection.

use std::net::SocketAddr;

use media_hub::Fault;
use media_net::{Batch, PortLease, RtpPair, RtpTcp, TcpError};

use crate::ready::{Ready, Stood};

/// Longest RTCP datagram taken.
const REPORT: usize = 1500;

/// An open way of media.
pub enum Wire {
    Udp {
        pair: RtpPair,
        batch: Box<Batch>,
        report: Box<[u8; REPORT]>,
        /// Where the device reports from.
        reporter: Option<SocketAddr>,
        /// The batch holds packets that were not given yet.
        fresh: bool,
    },
    Tcp {
        tcp: RtpTcp,
        /// Reports may be written: the device uses the framing of RFC 4571 and takes what we write.
        reports: bool,
        _lease: PortLease,
    },
}

impl Wire {
    /// `peer`: where the device says it listens. `ssrc`: what it was told to send with. `within`: seconds.
    pub async fn connect(ready: Ready, peer: SocketAddr, ssrc: u32, within: u32) -> Result<Wire, Fault> {
        Ok(match ready.stand(peer, within).await? {
            Stood::Udp(pair) => {
                Wire::Udp { pair, batch: Box::default(), report: Box::new([0; REPORT]), reporter: None, fresh: false }
            }
            Stood::Tcp(mut tcp, lease) => {
                tcp.reader.expect_ssrc(ssrc);
                Wire::Tcp { tcp, reports: true, _lease: lease }
            }
        })
    }
}

/// What reading gave.
pub enum Got {
    Packets,
    /// A datagram on the RTCP port: so many bytes of [`Wire::report`].
    Report(usize, SocketAddr),
    /// The connection has ended.
    Closed(String),
    /// The bytes of the connection are no RTP.
    NotRtp(String),
}

impl Wire {
    /// Waits for packets. Cancel-safe. Then take them with [`Wire::each`].
    pub async fn read(&mut self) -> Got {
        match self {
            Wire::Udp { pair, batch, report, reporter, fresh } => tokio::select! {
                got = pair.rtp.recv(batch) => match got {
                    Ok(_) => {
                        *fresh = true;
                        Got::Packets
                    }
                    Err(e) => Got::Closed(e.to_string()),
                },
                got = pair.rtcp.recv_from(report.as_mut_slice()) => match got {
                    Ok((len, from)) => {
                        *reporter = Some(from);
                        Got::Report(len, from)
                    }
                    // What a report of ours met at the far end is no end of the media.
                    Err(_) => Got::Report(0, SocketAddr::from(([0, 0, 0, 0], 0))),
                },
            },
            Wire::Tcp { tcp, .. } => match tcp.reader.fill().await {
                Ok(true) => Got::Packets,
                Ok(false) => Got::Closed("设备关闭了连接 / closed by the device".into()),
                Err(e @ TcpError::Framing(_)) => Got::NotRtp(e.to_string()),
                Err(e) => Got::Closed(e.to_string()),
            },
        }
    }

    /// Our address of a connection; none for UDP.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Wire::Udp { .. } => None,
            Wire::Tcp { tcp, .. } => Some(tcp.local),
        }
    }

    /// Bytes that came over the connection, and how often they made no sense; nothing for UDP.
    pub fn framing(&self) -> (u64, u64) {
        match self {
            Wire::Udp { .. } => (0, 0),
            Wire::Tcp { tcp, .. } => (tcp.reader.stats().bytes, tcp.reader.stats().errors),
        }
    }

    /// The bytes of [`Got::Report`].
    pub fn report(&self, len: usize) -> &[u8] {
        match self {
            Wire::Udp { report, .. } => report.get(..len).unwrap_or_default(),
            Wire::Tcp { .. } => &[],
        }
    }

    /// Sends a receiver report; never waits. Over UDP to where the device reports from, else to the port above the one its
    /// media comes from.
    pub fn send_report(&mut self, data: &[u8], media: SocketAddr) {
        match self {
            Wire::Udp { pair, reporter, .. } => {
                let to = reporter.filter(|r| r.ip() == media.ip());
                let above = media.port().checked_add(1).map(|port| SocketAddr::new(media.ip(), port));
                if let Some(to) = to.or(above) {
                    // A report that does not leave is no fault: the next one may.
                    let _ = pair.rtcp.try_send_to(data, to);
                }
            }
            Wire::Tcp { tcp, reports, .. } => {
                if *reports {
                    *reports = tcp.writer.try_send(data);
                }
            }
        }
    }

    /// Gives the packets read, RTCP of a connection among them.
    pub fn each(&mut self, mut take: impl FnMut(SocketAddr, &[u8])) {
        match self {
            Wire::Udp { batch, fresh, .. } => {
                // A report came: the batch was given already.
                if !std::mem::take(fresh) {
                    return;
                }
                for (data, from) in batch.iter() {
                    take(from, data);
                }
            }
            Wire::Tcp { tcp, reports, .. } => {
                let peer = tcp.peer;
                while let Some(framed) = tcp.reader.buffered() {
                    // In the `$` form nobody knows which channel our reports would have.
                    *reports &= framed.channel.is_none();
                    take(peer, framed.data);
                }
            }
        }
    }
}
