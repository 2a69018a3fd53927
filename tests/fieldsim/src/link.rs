//! The signalling transport: one UDP socket, or one TCP connection to the server, with incoming messages as a queue.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::mpsc;

use crate::odd::{self, Odd};
use crate::sip_text::Message;

/// What arrives from the network.
pub enum Incoming {
    Message(Message, SocketAddr),
    /// The TCP connection has ended.
    Down(String),
}

enum Wire {
    Udp(Arc<UdpSocket>),
    Tcp(OwnedWriteHalf),
}

pub struct Link {
    wire: Wire,
    pub server: SocketAddr,
    pub local: SocketAddr,
    pub incoming: mpsc::Receiver<Incoming>,
    reader: tokio::task::JoinHandle<()>,
    /// How its firmware writes messages.
    pub odd: Odd,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The address a peer can reach us at: the bound one, or the one the kernel would choose towards `server`.
fn visible(bound: SocketAddr, server: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let found =
        std::net::UdpSocket::bind((bound.ip(), 0)).and_then(|s| s.connect(server).and_then(|()| s.local_addr()));
    SocketAddr::new(found.map_or(bound.ip(), |a| a.ip()), bound.port())
}

impl Link {
    pub async fn udp(bind: IpAddr, port: u16, server: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((bind, port)).await?);
        let local = visible(socket.local_addr()?, server);
        let (tx, incoming) = mpsc::channel(256);
        let reading = socket.clone();
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0u8; 65_536];
            loop {
                match reading.recv_from(&mut buffer).await {
                    Ok((n, from)) => {
                        if let Some(message) = buffer.get(..n).and_then(Message::parse)
                            && tx.send(Incoming::Message(message, from)).await.is_err()
                        {
                            return;
                        }
                    }
                    // An ICMP refusal of an earlier datagram: the server is not there yet.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self { wire: Wire::Udp(socket), server, local, incoming, reader, odd: Odd::default() })
    }

    pub async fn tcp(bind: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(bind, 0))?;
        let stream = tokio::time::timeout(std::time::Duration::from_secs(5), socket.connect(server))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect timed out"))??;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (mut read, write) = stream.into_split();
        let (tx, incoming) = mpsc::channel(256);
        let reader = tokio::spawn(async move {
            let mut buffer = Vec::new();
            let why = loop {
                match Message::take(&mut buffer) {
                    Ok(Some(message)) => {
                        if tx.send(Incoming::Message(message, server)).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(e) => break e,
                }
                match read.read_buf(&mut buffer).await {
                    Ok(0) => break "the server closed the connection".to_string(),
                    Ok(_) => {}
                    Err(e) => break e.to_string(),
                }
            };
            let _ = tx.send(Incoming::Down(why)).await;
        });
        Ok(Self { wire: Wire::Tcp(write), server, local, incoming, reader, odd: Odd::default() })
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self.wire, Wire::Tcp(_))
    }

    /// The word for Via.
    pub fn via_transport(&self) -> &'static str {
        if self.is_tcp() { "TCP" } else { "UDP" }
    }

    pub async fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let tcp = self.is_tcp();
        let bytes = &odd::written(bytes.to_vec(), &self.odd, tcp);
        match &mut self.wire {
            Wire::Udp(socket) => socket.send_to(bytes, to).await.map(|_| ()),
            Wire::Tcp(write) if self.odd.tcp_pieces => {
                write.write_all(b"\r\n\r\n").await?;
                for piece in bytes.chunks(100) {
                    write.write_all(piece).await?;
                    write.flush().await?;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                Ok(())
            }
            Wire::Tcp(write) => write.write_all(bytes).await,
        }
    }
}
