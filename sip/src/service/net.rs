//! Sockets and connections.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::{Profiles, Shared};
use crate::{
    flow::{Flow, FlowId, Transport},
    guard::Offence,
    limits::Limits,
    stream::{Frame, Framer},
};

/// What sockets tell the core.
pub(crate) enum Input {
    Datagram {
        socket: usize,
        peer: SocketAddr,
        data: Bytes,
    },
    Opened {
        flow: Flow,
        out: mpsc::Sender<Bytes>,
        stop: CancellationToken,
    },
    Message {
        flow: FlowId,
        data: Bytes,
    },
    Closed {
        flow: FlowId,
    },
    /// A connection of ours could not be opened.
    Refused {
        flow: FlowId,
    },
}

/// What every socket task has.
#[derive(Clone)]
pub(crate) struct Hub {
    pub inputs: mpsc::Sender<Input>,
    pub shared: Arc<Shared>,
    pub profiles: Profiles,
    pub limits: Arc<Limits>,
    pub stop: CancellationToken,
}

fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(crate) fn udp(addr: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
    let _ = socket.set_recv_buffer_size(4 << 20); // the kernel may give less
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

pub(crate) fn tcp(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// The local address the kernel would use towards a peer. Sends nothing.
pub(crate) fn kernel_address(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    let peer = if peer.port() == 0 { SocketAddr::new(peer.ip(), 5060) } else { peer };
    probe.connect(peer).ok()?;
    probe.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified())
}

pub(crate) async fn read_udp(hub: Hub, index: usize, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = tokio::select! {
            () = hub.stop.cancelled() => return,
            read = socket.recv_from(&mut buffer) => read,
        };
        match read {
            // Nothing of it is read.
            Ok((_, peer)) if hub.shared.guard.drops(std::time::Instant::now(), peer.ip()) => {}
            Ok((n, peer)) => {
                let data = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                if hub.inputs.send(Input::Datagram { socket: index, peer, data }).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                tracing::warn!(error = %e, "reading SIP over UDP");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// TLS handshakes that may be unfinished at the same time, and of one address.
const HANDSHAKES: usize = 256;
const HANDSHAKES_OF_ONE: usize = 16;

/// Unfinished handshakes by address; an address is in it only while it has some.
type Sources = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One unfinished handshake of an address.
struct Share(Sources, IpAddr);

impl Share {
    fn take(sources: &Sources, ip: IpAddr) -> Option<Share> {
        let ip = ip.to_canonical();
        let mut table = sources.lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.entry(ip).or_default();
        if *count >= HANDSHAKES_OF_ONE {
            return None;
        }
        *count += 1;
        drop(table);
        Some(Share(sources.clone(), ip))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.1);
            }
        }
    }
}

pub(crate) async fn accept(hub: Hub, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let sources: Sources = Arc::default();
    let local = listener.local_addr().ok();
    loop {
        let accepted = tokio::select! {
            () = hub.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(ok) => ok,
            Err(e) => {
                tracing::warn!(error = %e, "accepting SIP over TCP");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if hub.shared.guard.drops(std::time::Instant::now(), peer.ip()) {
            continue;
        }
        let own = stream.local_addr().ok().or(local).unwrap_or(peer);
        let (hub, tls, handshakes, sources) = (hub.clone(), tls.clone(), handshakes.clone(), sources.clone());
        let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let flow = Flow {
                id: hub.shared.flow_id(),
                transport,
                local: own,
                peer,
                profile: (hub.profiles)(transport, peer),
            };
            let (out, rx) = mpsc::channel(hub.limits.connection_queue.max(1));
            let stop = hub.stop.child_token();
            let opened = Input::Opened { flow: flow.clone(), out, stop: stop.clone() };
            match tls {
                None => {
                    if hub.inputs.send(opened).await.is_ok() {
                        serve(&hub, flow.id, stream, rx, stop).await;
                    }
                }
                Some(tls) => {
                    // Its own share first: what one address leaves unfinished must not keep the others out.
                    let share = Share::take(&sources, peer.ip());
                    let (Some(share), Ok(permit)) = (share, handshakes.try_acquire_owned()) else {
                        hub.shared.stats.dropped_flows.inc();
                        return;
                    };
                    match timeout(Duration::from_secs(10), tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            drop((permit, share));
                            if hub.inputs.send(opened).await.is_ok() {
                                serve(&hub, flow.id, stream, rx, stop).await;
                            }
                        }
                        Ok(Err(e)) => tracing::debug!(%peer, error = %e, "TLS handshake"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                    }
                }
            }
        });
    }
}

/// How long opening a connection may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// Opens a connection of ours within `limit`; [`Input::Refused`] tells when that fails.
pub(crate) async fn connect(
    hub: Hub,
    flow: Flow,
    limit: Duration,
    tls: Option<TlsConnector>,
    rx: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    let connected = tokio::select! {
        () = stop.cancelled() => None,
        tcp = timeout(limit, TcpStream::connect(flow.peer)) => tcp.ok().and_then(Result::ok),
    };
    match (connected, tls) {
        (Some(stream), None) => {
            let _ = stream.set_nodelay(true);
            serve(&hub, flow.id, stream, rx, stop).await;
        }
        (Some(stream), Some(tls)) => {
            let known = hub.shared.tls_names.get(&flow.peer).and_then(|n| n.clone().try_into().ok());
            let name = known.unwrap_or(rustls::pki_types::ServerName::IpAddress(flow.peer.ip().into()));
            match timeout(Duration::from_secs(10), tls.connect(name, stream)).await {
                Ok(Ok(stream)) => serve(&hub, flow.id, stream, rx, stop).await,
                Ok(Err(e)) => {
                    tracing::warn!(peer = %flow.peer, error = %e, "TLS to SIP peer");
                    let _ = hub.inputs.send(Input::Refused { flow: flow.id }).await;
                }
                Err(_) => drop(hub.inputs.send(Input::Refused { flow: flow.id }).await),
            }
        }
        (None, _) => drop(hub.inputs.send(Input::Refused { flow: flow.id }).await),
    }
}

/// One connection until it ends; [`Input::Closed`] is always the last word.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    hub: &Hub,
    flow: FlowId,
    mut stream: S,
    mut rx: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    let mut framer = Framer::new(&hub.limits);
    let mut buffer = vec![0; 16 * 1024];
    let mut last = tokio::time::Instant::now();
    'open: loop {
        let idle = last + hub.limits.idle_connection;
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(idle) => break,
            out = rx.recv() => {
                let Some(out) = out else { break };
                match timeout(Duration::from_secs(10), stream.write_all(&out)).await {
                    Ok(Ok(())) => {}
                    _ => break,
                }
            }
            read = stream.read(&mut buffer) => {
                let n = match read {
                    Ok(0) | Err(_) => break,
                    Ok(n) => n,
                };
                last = tokio::time::Instant::now();
                framer.push(buffer.get(..n).unwrap_or_default());
                loop {
                    match framer.next_frame() {
                        Ok(Some(Frame::Message(data))) => {
                            if hub.inputs.send(Input::Message { flow, data }).await.is_err() {
                                break 'open;
                            }
                        }
                        Ok(Some(Frame::Ping)) => {
                            if !matches!(timeout(Duration::from_secs(10), stream.write_all(b"\r\n")).await, Ok(Ok(()))) {
                                break 'open;
                            }
                        }
                        Ok(None) => break,
                        Err(e) => {
                            hub.shared.stats.parse_errors.inc();
                            if let Some(peer) = hub.shared.flows.get(&flow).map(|f| f.peer) {
                                hub.shared.guard.offence(std::time::Instant::now(), peer.ip(), None, Offence::Malformed);
                            }
                            tracing::warn!(flow = flow.0, error = %e, "SIP stream closed");
                            break 'open;
                        }
                    }
                }
            }
        }
    }
    let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
    let _ = hub.inputs.send(Input::Closed { flow }).await;
}
