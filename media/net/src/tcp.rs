//! RTP over TCP (RFC 4571) for GB/T 28181: accepting exactly one connection, connecting with retries.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media_core::tcp_framing::{Deframer, Framed, FramingStats, frame_header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Tries of [`connect`], one second apart (gb28181.md 13).
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ: usize = 64 * 1024;
/// A peer that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no media connection.
#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    #[error("no media connection came within {0:?}")]
    NotConnected(Duration),
    #[error("media connection to {addr} failed {tries} times: {source}")]
    Connect { addr: SocketAddr, tries: u32, source: io::Error },
    #[error("media connection lost: {0}")]
    Io(#[from] io::Error),
    #[error("the peer's RTP framing is beyond repair ({} errors, last at byte {})", .0.errors, .0.last_error_at)]
    Framing(FramingStats),
    #[error("packet of {0} bytes is over the limit of 65535")]
    TooLong(usize),
    #[error("the peer takes no data")]
    Stalled,
}

/// A media connection.
#[derive(Debug)]
pub struct RtpTcp {
    pub reader: RtpTcpReader,
    pub writer: RtpTcpWriter,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Packets out of the connection.
#[derive(Debug)]
pub struct RtpTcpReader {
    stream: OwnedReadHalf,
    deframer: Deframer,
    scratch: Box<[u8]>,
}

/// Packets into the connection.
#[derive(Debug)]
pub struct RtpTcpWriter {
    stream: OwnedWriteHalf,
    buf: Vec<u8>,
}

impl RtpTcp {
    /// Takes over a connected stream.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        stream.set_nodelay(true)?;
        let (r, w) = stream.into_split();
        Ok(RtpTcp {
            reader: RtpTcpReader { stream: r, deframer: Deframer::new(), scratch: vec![0; READ].into_boxed_slice() },
            writer: RtpTcpWriter { stream: w, buf: Vec::new() },
            peer,
            local,
        })
    }
}

impl RtpTcpReader {
    /// The SSRC agreed in signalling helps recovery.
    pub fn expect_ssrc(&mut self, ssrc: u32) {
        self.deframer.expect_ssrc(ssrc);
    }

    pub fn stats(&self) -> FramingStats {
        self.deframer.stats()
    }

    /// A packet already read, without waiting.
    pub fn buffered(&mut self) -> Option<Framed<'_>> {
        self.deframer.next_packet()
    }

    /// Reads more bytes once. Ok(false) at the end of the stream. Cancel safe. Then take packets by
    /// [`RtpTcpReader::buffered`] until None.
    pub async fn fill(&mut self) -> Result<bool, TcpError> {
        if self.deframer.hopeless() {
            return Err(TcpError::Framing(self.deframer.stats()));
        }
        let n = self.stream.read(&mut self.scratch).await?;
        self.deframer.push(self.scratch.get(..n).unwrap_or_default());
        Ok(n > 0)
    }
}

impl RtpTcpWriter {
    /// Sends one short packet without waiting. False when it did not leave whole: the connection must not be written to
    /// again, for the framing is broken from here on (or the peer takes nothing).
    pub fn try_send(&mut self, packet: &[u8]) -> bool {
        self.buf.clear();
        self.buf.extend_from_slice(&frame_header(packet.len()));
        self.buf.extend_from_slice(packet);
        packet.len() <= 0xFFFF && self.stream.try_write(&self.buf).is_ok_and(|n| n == self.buf.len())
    }

    /// Sends packets, each behind its length. Not cancel safe: a packet cut in two breaks the connection.
    pub async fn send(&mut self, packets: &[&[u8]]) -> Result<(), TcpError> {
        self.buf.clear();
        for p in packets {
            if p.len() > 0xFFFF {
                return Err(TcpError::TooLong(p.len()));
            }
            self.buf.extend_from_slice(&frame_header(p.len()));
            self.buf.extend_from_slice(p);
        }
        match timeout(WRITE_TIMEOUT, self.stream.write_all(&self.buf)).await {
            Ok(r) => Ok(r?),
            Err(_) => Err(TcpError::Stalled),
        }
    }
}

/// Waits for the one connection of a session and closes the listener. With `expected`, others are turned away at once;
/// devices behind NAT come from other addresses, so leave it None unless the network is known.
pub async fn accept_one(listener: TcpListener, expected: Option<IpAddr>, within: Duration) -> Result<RtpTcp, TcpError> {
    let until = Instant::now() + within;
    loop {
        let Ok(got) = timeout_at(until, listener.accept()).await else { return Err(TcpError::NotConnected(within)) };
        let (stream, peer) = match got {
            Ok(g) => g,
            // A connection that died in the queue, or no descriptors for a moment.
            Err(e) => {
                tracing::debug!(error = %e, "media accept failed");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if expected.is_some_and(|e| e != peer.ip().to_canonical()) {
            tracing::warn!(%peer, "media connection from an unexpected address closed");
            continue;
        }
        match RtpTcp::new(stream) {
            Ok(connection) => return Ok(connection),
            // Gone again already, as a port scan is: the device is still to come.
            Err(e) => tracing::debug!(%peer, error = %e, "media connection closed at once"),
        }
    }
}

/// Connects to a device that listens (`a=setup:passive` in its answer): 3 tries, 1 s apart, each at most `each` long.
/// `local`: address and port to come from, if it matters.
pub async fn connect(addr: SocketAddr, local: Option<SocketAddr>, each: Duration) -> Result<RtpTcp, TcpError> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for i in 0..TRIES {
        if i > 0 {
            sleep(BETWEEN).await;
        }
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(l) = local {
            socket.set_reuseaddr(true)?;
            socket.bind(l)?;
        }
        match timeout(each, socket.connect(addr)).await {
            Ok(Ok(stream)) => return Ok(RtpTcp::new(stream)?),
            Ok(Err(e)) => last = e,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(TcpError::Connect { addr, tries: TRIES, source: last })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use media_core::rtp::{RtpHeader, RtpPacket};

    #[tokio::test]
    async fn packets_cross_and_only_one_connects() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = l.local_addr().unwrap();
        let accept = tokio::spawn(accept_one(l, Some("127.0.0.1".parse().unwrap()), Duration::from_secs(5)));
        let mut client = connect(addr, None, Duration::from_secs(1)).await.unwrap();
        let mut server = accept.await.unwrap().unwrap();
        assert!(TcpStream::connect(addr).await.is_err());
        let packets: Vec<Vec<u8>> = (0..200u16)
            .map(|i| {
                let mut p = Vec::new();
                let h = RtpHeader { marker: false, payload_type: 96, sequence: i, timestamp: 0, ssrc: 7 };
                h.write(&mut p, &[&vec![1; usize::from(i) * 7]]);
                p
            })
            .collect();
        let refs: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        client.writer.send(&refs).await.unwrap();
        drop(client);
        let mut next = 0;
        while server.reader.fill().await.unwrap() {
            while let Some(f) = server.reader.buffered() {
                assert_eq!(RtpPacket::parse(f.data).unwrap().sequence, next);
                next += 1;
            }
        }
        assert_eq!(next, 200);
    }

    #[tokio::test]
    async fn nobody_comes() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let r = accept_one(l, None, Duration::from_millis(30)).await;
        assert!(matches!(r, Err(TcpError::NotConnected(_))));
    }

    #[tokio::test]
    async fn wrong_peer_is_turned_away() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = l.local_addr().unwrap();
        let accept = tokio::spawn(accept_one(l, Some("10.9.9.9".parse().unwrap()), Duration::from_millis(200)));
        let mut c = TcpStream::connect(addr).await.unwrap();
        let mut b = [0; 1];
        assert_eq!(c.read(&mut b).await.unwrap_or(0), 0);
        assert!(accept.await.unwrap().is_err());
    }
}
