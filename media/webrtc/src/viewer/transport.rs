//! ICE lite (RFC 8445 on `is`) and DTLS-SRTP (RFC 5764 on `dimpl`) of one viewer leg. No socket, no clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};
use media_secure::Profile;

use super::sdp::Fingerprint;
use super::srtp::{SrtcpReceiver, SrtpError, SrtpSender, server_keys};
use crate::leg::CloseReason;

/// Consent: a leg without a binding request for this long is dead (RFC 7675).
pub const CONSENT: Duration = Duration::from_secs(30);
/// DTLS datagrams taken from one peer before its handshake ends.
const MAX_HANDSHAKE_DATAGRAMS: u32 = 400;

/// What the transport tells its leg.
pub enum TransportEvent {
    /// STUN with integrity came from there: packets from it belong to this leg.
    Learned(SocketAddr),
    /// Send media there.
    Remote(SocketAddr),
    /// Keys stand and the peer's certificate is the offered one.
    Keys(Box<(SrtpSender, SrtcpReceiver)>, &'static str),
    Closed(CloseReason),
}

/// One datagram to send.
pub type Datagram = (SocketAddr, Vec<u8>);

pub struct Transport {
    ice: IceAgent,
    dtls: Dtls,
    fingerprint: Fingerprint,
    certificate_fits: bool,
    remote: Option<SocketAddr>,
    last_source: Option<SocketAddr>,
    last_stun: Instant,
    dtls_due: Option<Instant>,
    datagrams: u32,
    connected: bool,
    buf: Vec<u8>,
}

impl Transport {
    /// `locals` are the addresses by which packets are told to arrive, one for each socket.
    pub fn new(
        local: IceCreds,
        remote: IceCreds,
        locals: &[SocketAddr],
        fingerprint: Fingerprint,
        config: Arc<dimpl::Config>,
        certificate: DtlsCertificate,
        now: Instant,
    ) -> Self {
        let mut ice = IceAgent::new(local);
        ice.set_ice_lite(true);
        ice.set_controlling(false);
        ice.set_remote_credentials(remote);
        for addr in locals {
            if let Ok(c) = Candidate::host(*addr, Protocol::Udp) {
                ice.add_local_candidate(c);
            }
        }
        ice.handle_timeout(now);
        Transport {
            ice,
            dtls: Dtls::new_12(config, certificate, now),
            fingerprint,
            certificate_fits: false,
            remote: None,
            last_source: None,
            last_stun: now,
            dtls_due: None,
            datagrams: 0,
            connected: false,
            buf: vec![0; 4096],
        }
    }

    /// A STUN datagram with our ufrag.
    pub fn stun(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        data: &[u8],
        out: &mut Vec<Datagram>,
    ) -> Vec<TransportEvent> {
        let Ok(message) = StunMessage::parse(data) else { return Vec::new() };
        let packet = StunPacket { proto: Protocol::Udp, source, destination: local, message };
        if !self.ice.handle_packet(now, packet) {
            return Vec::new();
        }
        self.last_stun = now;
        let mut events = vec![TransportEvent::Learned(source)];
        self.ice.handle_timeout(now);
        self.drain_ice(out, &mut events);
        events
    }

    fn drain_ice(&mut self, out: &mut Vec<Datagram>, events: &mut Vec<TransportEvent>) {
        while let Some(t) = self.ice.poll_transmit() {
            out.push((t.destination, t.contents.to_vec()));
        }
        while let Some(event) = self.ice.poll_event() {
            if let IceAgentEvent::NominatedSend { destination, .. } = event {
                self.remote = Some(destination);
                events.push(TransportEvent::Remote(destination));
            }
        }
    }

    /// A DTLS datagram from a learned address.
    pub fn dtls(
        &mut self,
        now: Instant,
        source: SocketAddr,
        data: &[u8],
        out: &mut Vec<Datagram>,
    ) -> Vec<TransportEvent> {
        self.last_source = Some(source);
        self.datagrams += 1;
        if !self.connected && self.datagrams > MAX_HANDSHAKE_DATAGRAMS {
            return vec![TransportEvent::Closed(CloseReason::Dtls)];
        }
        let done = self.dtls.handle_timeout(now).and_then(|()| self.dtls.handle_packet(data));
        if done.is_err() {
            return vec![TransportEvent::Closed(CloseReason::Dtls)];
        }
        self.drain_dtls(out)
    }

    fn drain_dtls(&mut self, out: &mut Vec<Datagram>) -> Vec<TransportEvent> {
        let mut events = Vec::new();
        let to = self.remote.or(self.last_source);
        // Bounded: a poll cycle ends with Timeout.
        for _ in 0..1000 {
            match self.dtls.poll_output(&mut self.buf) {
                Output::Packet(p) => {
                    if let Some(to) = to {
                        out.push((to, p.to_vec()));
                    }
                }
                Output::BufferTooSmall { needed } if needed <= 1 << 20 => self.buf.resize(needed, 0),
                Output::Timeout(at) => {
                    self.dtls_due = Some(at);
                    break;
                }
                Output::PeerCert(der) => self.certificate_fits = self.fingerprint.matches(der),
                Output::KeyingMaterial(material, profile) => {
                    if !self.certificate_fits {
                        events.push(TransportEvent::Closed(CloseReason::Fingerprint));
                        break;
                    }
                    let keys = agreed(profile).ok_or(SrtpError::Keys);
                    match keys.and_then(|profile| server_keys(&material, profile)) {
                        Ok(keys) => {
                            self.connected = true;
                            events.push(TransportEvent::Keys(Box::new(keys), profile_name(profile)));
                        }
                        Err(_) => events.push(TransportEvent::Closed(CloseReason::Dtls)),
                    }
                }
                Output::CloseNotify => events.push(TransportEvent::Closed(CloseReason::Peer)),
                Output::BufferTooSmall { .. } => {
                    events.push(TransportEvent::Closed(CloseReason::Dtls));
                    break;
                }
                _ => {}
            }
        }
        events
    }

    /// Timers; to be called at least every 100 ms, during the handshake every 20 ms.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Datagram>) -> Vec<TransportEvent> {
        if self.connected && now.saturating_duration_since(self.last_stun) > CONSENT {
            return vec![TransportEvent::Closed(CloseReason::Consent)];
        }
        let mut events = Vec::new();
        if self.ice.poll_timeout().is_some_and(|at| at <= now) {
            self.ice.handle_timeout(now);
            self.drain_ice(out, &mut events);
        }
        if self.dtls_due.is_some_and(|at| at <= now) {
            self.dtls_due = None;
            match self.dtls.handle_timeout(now) {
                Ok(()) => events.extend(self.drain_dtls(out)),
                Err(_) => events.push(TransportEvent::Closed(CloseReason::Dtls)),
            }
        }
        events
    }

    pub fn connected(&self) -> bool {
        self.connected
    }

    /// Says close_notify.
    pub fn close(&mut self, out: &mut Vec<Datagram>) {
        if self.dtls.close().is_ok() {
            let _ = self.drain_dtls(out);
        }
    }
}

/// The profile's name in the IANA registry.
pub fn profile_name(profile: dimpl::SrtpProfile) -> &'static str {
    agreed(profile).map_or("unknown", Profile::name)
}

fn agreed(profile: dimpl::SrtpProfile) -> Option<Profile> {
    Some(match profile {
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::Gcm256,
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::Gcm128,
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Profile::AesCm80,
        _ => return None,
    })
}
