//! DTLS-SRTP (RFC 5763, RFC 5764) of one leg: `rtc-dtls` behind a type of ours. No socket, no clock.
//!
//! Telephones bring certificates of RSA (baresip, most desk phones), which `dimpl`, the engine of the viewers, does not read.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use crate::describe::Fingerprint;
use crate::keys::Keys;
use crate::profile::Profile;
use crate::srtp::exported;

/// Datagrams taken from one peer before its handshake ends.
const MOST_DATAGRAMS: u32 = 400;
/// A handshake that has not ended by then has failed.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Datagrams of ours that may wait to be sent.
const MOST_WAITING: usize = 64;
/// The label of RFC 5764 4.2.
const LABEL: &str = "EXTRACTOR-dtls_srtp";
/// The engine tells its peers apart by their addresses; each association of ours has one engine, and this one peer.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// Best first (RFC 5764 4.1.2, RFC 7714 14.2); the short tag is not taken.
const PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];

/// Our certificate: made anew with each start of the gateway, known to far ends by its fingerprint alone.
pub struct Identity {
    config: ConfigBuilder,
    fingerprint: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

impl Identity {
    /// The one of this process; none when the system gives no random numbers.
    pub fn ours() -> Option<&'static Arc<Identity>> {
        static OURS: LazyLock<Option<Arc<Identity>>> = LazyLock::new(|| Identity::generate().ok().map(Arc::new));
        OURS.as_ref()
    }

    /// A fresh P-256 certificate.
    pub fn generate() -> Result<Identity, String> {
        let provider = rtc_crypto::default_provider().map_err(|e| e.to_string())?;
        let names = vec!["skybridge".to_owned()];
        let certificate = Certificate::generate_self_signed(names, provider.crypto()).map_err(|e| e.to_string())?;
        let der = certificate.certificate.first().ok_or("no certificate was made")?;
        let hash: Vec<String> = digest(&SHA256, der).as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(PROFILES.to_vec())
            // Whoever calls need not know the extension (RFC 7627): phones of ten years ago do not.
            .with_extended_master_secret(ExtendedMasterSecretType::Request)
            // Certificates are signed by themselves: what counts is the hash in the description (RFC 5763 5).
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true);
        Ok(Identity { config, fingerprint: hash.join(":") })
    }

    /// The SHA-256 of it, as `a=fingerprint` writes it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Why a handshake has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the certificate is not the one that the description names")]
    Fingerprint,
    #[error("the DTLS handshake did not come to an end")]
    Timeout,
    #[error("the DTLS handshake was refused")]
    Handshake,
    #[error("no common protection profile")]
    Profile,
}

/// Both directions' keys.
pub(crate) struct Exported {
    pub ours: Keys,
    pub theirs: Keys,
}

pub(crate) struct Association {
    /// None when there is no usable configuration; the leg then fails in words. The lock is never taken: it makes the engine, which
    /// may be sent but not be shared, a part of what tasks borrow across their waits.
    engine: Option<Mutex<Endpoint>>,
    config: Option<Arc<rtc_dtls::config::HandshakeConfig>>,
    /// The certificate was seen, and is the one of the description. Asked once more before keys are given: no way through the engine
    /// may lead past it.
    fits: Arc<AtomicBool>,
    client: bool,
    begun: bool,
    done: bool,
    closed: bool,
    started: Option<Instant>,
    due: Option<Instant>,
    datagrams: u32,
    pub out: VecDeque<Vec<u8>>,
}

impl Association {
    pub fn new(identity: &Identity, fingerprints: Vec<Fingerprint>, client: bool, now: Instant) -> Self {
        let fits = Arc::new(AtomicBool::new(false));
        let seen = fits.clone();
        let config = identity
            .config
            .clone()
            .with_verify_peer_certificate(Some(Arc::new(move |chain, _| match chain.first() {
                // All hashes that are given must fit one and the same certificate (RFC 8122 5).
                Some(der) if fingerprints.iter().any(|f| f.matches(der)) => {
                    seen.store(true, Ordering::Relaxed);
                    Ok(())
                }
                _ => Err(Error::ErrFingerprintMismatch),
            })))
            .build(client, Some(PEER))
            .ok()
            .map(Arc::new);
        let server = config.clone().filter(|_| !client);
        let engine = config.is_some().then(|| Mutex::new(Endpoint::new(PEER, TransportProtocol::UDP, server)));
        Association {
            engine,
            config,
            fits,
            client,
            begun: false,
            done: false,
            closed: false,
            started: None,
            due: client.then_some(now),
            datagrams: 0,
            out: VecDeque::new(),
        }
    }

    pub fn done(&self) -> bool {
        self.done
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// One datagram of the peer. Gives the keys once.
    pub fn receive(&mut self, data: &[u8], now: Instant) -> Result<Option<Exported>, Failure> {
        // What is no record, or forged so badly, is dropped silently (RFC 6347 4.1.2.7).
        if self.closed || !records(data) {
            return Ok(None);
        }
        self.start(now)?;
        self.datagrams = self.datagrams.saturating_add(1);
        if !self.done && self.datagrams > MOST_DATAGRAMS {
            return Err(Failure::Handshake);
        }
        let engine = engine(&mut self.engine).ok_or(Failure::Handshake)?;
        let read = engine.read(now, PEER, None, BytesMut::from(data));
        self.drain(now);
        match read {
            Ok(events) => {
                let mut keys = None;
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete if !self.done => keys = Some(self.export()?),
                        EndpointEvent::PeerClosed => self.closed = true,
                        _ => {}
                    }
                }
                if self.closed && !self.done { Err(Failure::Handshake) } else { Ok(keys) }
            }
            // After the keys stand, an alert or a broken record takes nothing away from the media.
            Err(_) if self.done => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    pub fn tick(&mut self, now: Instant) -> Result<Option<Exported>, Failure> {
        if self.due.is_none_or(|at| at > now) {
            return Ok(None);
        }
        self.start(now)?;
        if !self.done && self.started.is_some_and(|at| now.saturating_duration_since(at) >= HANDSHAKE) {
            self.due = None;
            return Err(Failure::Timeout);
        }
        let engine = engine(&mut self.engine).ok_or(Failure::Handshake)?;
        // Before the peer's first datagram the engine of a server does not know it, and has nothing to repeat.
        let repeated = if engine.poll_timeout(&PEER).is_some() { engine.handle_timeout(PEER, now) } else { Ok(()) };
        self.drain(now);
        match repeated {
            Err(_) if !self.done => Err(Failure::Timeout),
            _ => Ok(None),
        }
    }

    /// Our ClientHello, once; the clock of the handshake.
    fn start(&mut self, now: Instant) -> Result<(), Failure> {
        self.started.get_or_insert(now);
        if self.client && !self.begun {
            self.begun = true;
            let config = self.config.clone().ok_or(Failure::Handshake)?;
            let engine = engine(&mut self.engine).ok_or(Failure::Handshake)?;
            engine.connect(now, PEER, config, None).map_err(|e| failure(&e))?;
            self.drain(now);
        }
        Ok(())
    }

    /// What is to be sent, and when to look again.
    fn drain(&mut self, now: Instant) {
        let Some(engine) = engine(&mut self.engine) else { return };
        while let Some(t) = engine.poll_transmit() {
            if self.out.len() < MOST_WAITING {
                self.out.push_back(t.message.to_vec());
            }
        }
        let end = self.started.map(|at| at + HANDSHAKE).filter(|_| !self.done);
        self.due = [engine.poll_timeout(&PEER), end].into_iter().flatten().min().map(|at| at.max(now));
    }

    fn export(&mut self) -> Result<Exported, Failure> {
        if !self.fits.load(Ordering::Relaxed) {
            return Err(Failure::Fingerprint);
        }
        let engine = engine(&mut self.engine).ok_or(Failure::Handshake)?;
        let state = engine.get_connection_state(PEER).ok_or(Failure::Handshake)?;
        let profile = Profile::of_dtls(state.srtp_protection_profile() as u16).ok_or(Failure::Profile)?;
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = state.export_keying_material(LABEL, &[], length).map_err(|_| Failure::Profile)?;
        let keys = cut(material.as_ref(), profile, self.client)?;
        self.done = true;
        self.due = None;
        Ok(keys)
    }
}

fn engine(held: &mut Option<Mutex<Endpoint>>) -> Option<&mut Endpoint> {
    held.as_mut().map(|e| e.get_mut().unwrap_or_else(PoisonError::into_inner))
}

/// Whether a datagram is nothing but whole records of DTLS 1.0 or 1.2 (RFC 6347 4.1).
pub(crate) fn records(mut data: &[u8]) -> bool {
    loop {
        let [20..=23, 254, 253 | 255, _, _, _, _, _, _, _, _, high, low, rest @ ..] = data else { return false };
        match rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
            Some([]) => return true,
            Some(more) => data = more,
            None => return false,
        }
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::ErrFingerprintMismatch => Failure::Fingerprint,
        _ => Failure::Handshake,
    }
}

/// What was exported, by direction.
pub(crate) fn cut(material: &[u8], profile: Profile, client: bool) -> Result<Exported, Failure> {
    let ((ck, cs), (sk, ss)) = exported(material, profile).map_err(|_| Failure::Profile)?;
    let keys = |k: &[u8], s: &[u8]| Keys::new(profile, &[k, s].concat()).ok_or(Failure::Profile);
    let (client_keys, server_keys) = (keys(ck, cs)?, keys(sk, ss)?);
    let (ours, theirs) = if client { (client_keys, server_keys) } else { (server_keys, client_keys) };
    Ok(Exported { ours, theirs })
}
