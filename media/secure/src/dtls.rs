//! DTLS-SRTP (RFC 5763, RFC 5764) of one leg: `dimpl` behind a type of ours. No socket, no clock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};

use crate::describe::Fingerprint;
use crate::keys::Keys;
use crate::profile::Profile;
use crate::srtp::exported;

/// Datagrams taken from one peer before its handshake ends.
const MOST_DATAGRAMS: u32 = 400;
/// A handshake that has not ended by then has failed.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Largest datagram that the engine may ask room for.
const MOST_BUFFER: usize = 1 << 16;

/// Our certificate: made anew with each start of the gateway, known to far ends by its fingerprint alone.
pub struct Identity {
    certificate: DtlsCertificate,
    config: Arc<dimpl::Config>,
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
        let certificate = dimpl::certificate::generate_self_signed_certificate().map_err(|e| e.to_string())?;
        let fingerprint = certificate.fingerprint_str();
        let fingerprint = fingerprint.strip_prefix("sha-256 ").unwrap_or(&fingerprint).to_owned();
        let config = dimpl::Config::builder().handshake_timeout(HANDSHAKE).build().map_err(|e| e.to_string())?;
        Ok(Identity { certificate, config: Arc::new(config), fingerprint })
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
    dtls: Dtls,
    fingerprints: Vec<Fingerprint>,
    client: bool,
    fits: bool,
    done: bool,
    started: Option<Instant>,
    due: Option<Instant>,
    datagrams: u32,
    buf: Vec<u8>,
    pub out: VecDeque<Vec<u8>>,
}

impl Association {
    pub fn new(identity: &Identity, fingerprints: Vec<Fingerprint>, client: bool, now: Instant) -> Self {
        let mut dtls = Dtls::new_12(identity.config.clone(), identity.certificate.clone(), now);
        dtls.set_active(client);
        Association {
            dtls,
            fingerprints,
            client,
            fits: false,
            done: false,
            started: None,
            due: client.then_some(now),
            datagrams: 0,
            buf: vec![0; 2048],
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
        self.started.get_or_insert(now);
        self.datagrams = self.datagrams.saturating_add(1);
        if !self.done && self.datagrams > MOST_DATAGRAMS {
            return Err(Failure::Handshake);
        }
        let done = self.dtls.handle_timeout(now).and_then(|()| self.dtls.handle_packet(data));
        if let Err(error) = done {
            // After the keys stand, an alert or a broken record takes nothing away from the media.
            return if self.done { Ok(None) } else { Err(failure(&error.to_string())) };
        }
        self.drain()
    }

    pub fn tick(&mut self, now: Instant) -> Result<Option<Exported>, Failure> {
        if self.due.is_none_or(|at| at > now) {
            return Ok(None);
        }
        self.due = None;
        let started = *self.started.get_or_insert(now);
        if !self.done && now.saturating_duration_since(started) > HANDSHAKE {
            return Err(Failure::Timeout);
        }
        match self.dtls.handle_timeout(now) {
            Ok(()) => self.drain(),
            Err(_) if self.done => Ok(None),
            Err(_) => Err(Failure::Timeout),
        }
    }

    fn drain(&mut self) -> Result<Option<Exported>, Failure> {
        let mut keys = None;
        // Bounded: a round ends with `Timeout`.
        for _ in 0..200 {
            match self.dtls.poll_output(&mut self.buf) {
                Output::Packet(p) if self.out.len() < 64 => self.out.push_back(p.to_vec()),
                Output::BufferTooSmall { needed } if needed <= MOST_BUFFER => self.buf.resize(needed, 0),
                Output::BufferTooSmall { .. } => return Err(Failure::Handshake),
                Output::Timeout(at) => {
                    self.due = Some(at);
                    break;
                }
                // All hashes that are given must fit one and the same certificate (RFC 8122 5).
                Output::PeerCert(der) => self.fits = self.fingerprints.iter().any(|f| f.matches(der)),
                Output::KeyingMaterial(material, profile) => {
                    if !self.fits {
                        return Err(Failure::Fingerprint);
                    }
                    let profile = Profile::of_dtls(profile).ok_or(Failure::Profile)?;
                    keys = Some(cut(&material, profile, self.client)?);
                    self.done = true;
                }
                _ => {}
            }
        }
        Ok(keys)
    }
}

fn failure(error: &str) -> Failure {
    if error.to_ascii_lowercase().contains("timeout") { Failure::Timeout } else { Failure::Handshake }
}

/// What was exported, by direction.
pub(crate) fn cut(material: &[u8], profile: Profile, client: bool) -> Result<Exported, Failure> {
    let ((ck, cs), (sk, ss)) = exported(material, profile).map_err(|_| Failure::Profile)?;
    let keys = |k: &[u8], s: &[u8]| Keys::new(profile, &[k, s].concat()).ok_or(Failure::Profile);
    let (client_keys, server_keys) = (keys(ck, cs)?, keys(sk, ss)?);
    let (ours, theirs) = if client { (client_keys, server_keys) } else { (server_keys, client_keys) };
    Ok(Exported { ours, theirs })
}
