//! What one dialog has agreed on for the protection of its media.

use std::sync::Arc;

use is::IceCreds;
use media_core::sdp::{Sdp, SdpLine, Setup};

use crate::channel::{Agreed, DtlsPlan, IcePlan};
use crate::describe::{Peer, PeerKeys};
use crate::dtls::Identity;
use crate::keys::Keys;
use crate::profile::Profile;
use crate::sdes::Crypto;

/// What we offer, best first; the 32-bit tag is taken from others only (RFC 3711 7.5: it is weak).
const OFFERED: [Profile; 3] = [Profile::AesCm80, Profile::Gcm256, Profile::Gcm128];

/// How a description of ours protects its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RTP/AVP.
    Plain,
    /// RTP/SAVP with keys in the description.
    Sdes,
    /// UDP/TLS/RTP/SAVP.
    Dtls,
    /// UDP/TLS/RTP/SAVPF with ICE lite, rtcp-mux and a bundle of one: for browsers.
    Browser,
}

/// Why the far end's keys do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("no key in the description that we can use")]
    Unusable,
    #[error("the answer is not protected as the offer was")]
    Other,
}

#[derive(Debug, Clone, PartialEq)]
enum Mode {
    Plain,
    Sdes { ours: Vec<Crypto>, theirs: Option<Keys> },
    Dtls { theirs: Option<Theirs>, client: bool, ice: bool },
}

#[derive(Debug, Clone, PartialEq)]
struct Theirs {
    fingerprints: Vec<crate::describe::Fingerprint>,
    ice: Option<IceCreds>,
}

/// The protection of one dialog's sound: our secrets, and what the far end said last. One for each dialog and each ringing
/// contact, so that no two far ends know the same key.
#[derive(Debug, Clone)]
pub struct Security {
    creds: IceCreds,
    mode: Mode,
    /// The section of the offer that we answer next.
    answers: Option<usize>,
    proto: String,
    mid: Option<String>,
    bundled: bool,
    mux: bool,
}

impl Security {
    /// For a dialog in which we make the first offer; an answer to an offer sets its own kind.
    pub fn new(kind: Kind) -> Security {
        let (mode, proto) = match kind {
            Kind::Plain => (Mode::Plain, "RTP/AVP"),
            Kind::Sdes => {
                let line = |(n, p): (usize, &Profile)| Some(Crypto { tag: n as u32 + 1, keys: Keys::random(*p)? });
                let ours = OFFERED.iter().enumerate().filter_map(line).collect();
                (Mode::Sdes { ours, theirs: None }, "RTP/SAVP")
            }
            Kind::Dtls => (Mode::Dtls { theirs: None, client: false, ice: false }, "UDP/TLS/RTP/SAVP"),
            Kind::Browser => (Mode::Dtls { theirs: None, client: false, ice: true }, "UDP/TLS/RTP/SAVPF"),
        };
        let browser = kind == Kind::Browser;
        Security {
            creds: IceCreds::new(),
            mode,
            answers: None,
            proto: proto.to_owned(),
            mid: browser.then(|| "0".to_owned()),
            bundled: browser,
            mux: matches!(kind, Kind::Dtls | Kind::Browser),
        }
    }

    pub fn is_plain(&self) -> bool {
        self.mode == Mode::Plain
    }

    /// The keys stand in the signalling itself.
    pub fn is_sdes(&self) -> bool {
        matches!(self.mode, Mode::Sdes { .. })
    }

    /// Keys come by DTLS.
    pub fn is_dtls(&self) -> bool {
        matches!(self.mode, Mode::Dtls { .. })
    }

    /// Reports share the port of the sound.
    pub fn mux(&self) -> bool {
        self.mux && !self.is_plain()
    }

    /// Takes an offer of the far end; [`Security::dress`] then makes the answer. On an error nothing has changed.
    pub fn offered(&mut self, peer: &Peer) -> Result<Agreed, Mismatch> {
        let mode = match &peer.keys {
            PeerKeys::Unusable => return Err(Mismatch::Unusable),
            PeerKeys::Plain => Mode::Plain,
            PeerKeys::Sdes(lines) => {
                let best = lines.iter().min_by_key(|c| c.keys.profile == Profile::AesCm32).ok_or(Mismatch::Unusable)?;
                let keys = match &self.mode {
                    // The same suite again: our key stays, and with it the counters.
                    Mode::Sdes { ours, .. } => ours.iter().find(|c| c.keys.profile == best.keys.profile),
                    _ => None,
                };
                let keys = keys.map(|c| c.keys.clone()).or_else(|| Keys::random(best.keys.profile));
                let ours = vec![Crypto { tag: best.tag, keys: keys.ok_or(Mismatch::Unusable)? }];
                Mode::Sdes { ours, theirs: Some(best.keys.clone()) }
            }
            PeerKeys::Dtls { fingerprints, setup, ice } => {
                let theirs = Theirs { fingerprints: fingerprints.clone(), ice: ice.clone() };
                let client = match (setup, &self.mode) {
                    (Setup::Passive, _) => true,
                    (Setup::Active, _) => false,
                    // The association that stands keeps its roles (RFC 8842 5.3).
                    (_, Mode::Dtls { theirs: Some(old), client, .. }) if old.fingerprints == *fingerprints => *client,
                    _ => false,
                };
                if let Mode::Dtls { theirs: Some(old), .. } = &self.mode
                    && old.ice != *ice
                {
                    // ICE restart (RFC 8445 9): our credentials change too.
                    self.creds = IceCreds::new();
                }
                Mode::Dtls { theirs: Some(theirs), client, ice: ice.is_some() }
            }
        };
        self.mode = mode;
        self.answers = Some(peer.at);
        self.proto.clone_from(&peer.proto);
        self.mid.clone_from(&peer.mid);
        self.bundled = peer.bundled;
        self.mux = peer.mux;
        Ok(self.agreed())
    }

    /// Takes the answer to an offer of ours. On an error nothing has changed.
    pub fn answered(&mut self, peer: &Peer) -> Result<Agreed, Mismatch> {
        match (&mut self.mode, &peer.keys) {
            (Mode::Plain, PeerKeys::Plain) => {}
            // We offered no key: what it writes beside is of no use.
            (Mode::Plain, PeerKeys::Sdes(_)) if peer.proto.to_ascii_uppercase().starts_with("RTP/AVP") => {}
            (Mode::Sdes { ours, theirs }, PeerKeys::Sdes(lines)) => {
                let line = lines.first().ok_or(Mismatch::Unusable)?;
                let fits = |c: &&Crypto| c.tag == line.tag && c.keys.profile == line.keys.profile;
                let own = ours.iter().find(fits).cloned().ok_or(Mismatch::Unusable)?;
                *ours = vec![own];
                *theirs = Some(line.keys.clone());
            }
            (Mode::Dtls { theirs, client, ice }, PeerKeys::Dtls { fingerprints, setup, ice: creds }) => {
                if *ice != creds.is_some() {
                    return Err(Mismatch::Other);
                }
                *client = *setup == Setup::Passive;
                *theirs = Some(Theirs { fingerprints: fingerprints.clone(), ice: creds.clone() });
            }
            (_, PeerKeys::Unusable) => return Err(Mismatch::Unusable),
            _ => return Err(Mismatch::Other),
        }
        self.mux = peer.mux;
        Ok(self.agreed())
    }

    /// What the channel of the media needs.
    pub fn agreed(&self) -> Agreed {
        match &self.mode {
            Mode::Plain => Agreed::Plain,
            Mode::Sdes { ours, theirs } => match (ours.first(), theirs) {
                (Some(ours), Some(theirs)) => Agreed::Sdes { ours: ours.keys.clone(), theirs: theirs.clone() },
                _ => Agreed::Nothing,
            },
            Mode::Dtls { theirs: None, .. } => Agreed::Nothing,
            Mode::Dtls { theirs: Some(theirs), client, .. } => {
                let Some(identity) = Identity::ours() else { return Agreed::Nothing };
                Agreed::Dtls(Arc::new(DtlsPlan {
                    identity: identity.clone(),
                    fingerprints: theirs.fingerprints.clone(),
                    client: *client,
                    ice: theirs.ice.clone().map(|remote| IcePlan { local: self.creds.clone(), remote }),
                }))
            }
        }
    }

    /// Puts our keys into a description of plain RTP: an answer, when an offer was taken before, else an offer.
    pub fn dress(&mut self, sdp: &mut Sdp) {
        let answers = self.answers.take();
        let at = answers.or_else(|| sdp.media.iter().position(|m| m.kind == "audio" && m.port != 0));
        if !self.is_plain() {
            // Only the sound is protected here: nothing else goes beside it in plain.
            for (_, m) in sdp.media.iter_mut().enumerate().filter(|(i, _)| Some(*i) != at) {
                m.port = 0;
                m.lines.clear();
            }
        }
        let address = sdp.connection();
        let Some(m) = at.and_then(|at| sdp.media.get_mut(at)) else { return };
        if self.is_plain() || m.port == 0 {
            return;
        }
        m.proto.clone_from(&self.proto);
        match &self.mode {
            Mode::Plain => {}
            Mode::Sdes { ours, .. } => {
                for line in ours {
                    m.push('a', format!("crypto:{}", line.write()));
                }
            }
            Mode::Dtls { client, ice, .. } => {
                let setup = match (answers, client) {
                    (None, _) => "actpass",
                    (Some(_), true) => "active",
                    (Some(_), false) => "passive",
                };
                m.push('a', format!("fingerprint:sha-256 {}", Identity::ours().map_or("", |i| i.fingerprint())));
                m.push('a', format!("setup:{setup}"));
                if *ice {
                    m.push('a', format!("ice-ufrag:{}", self.creds.ufrag))
                        .push('a', format!("ice-pwd:{}", self.creds.pass));
                    if let Some(address) = address {
                        // RFC 8445 5.1.2.1: a host candidate of the only component.
                        let candidate = format!("candidate:1 1 udp 2130706431 {address} {} typ host", m.port);
                        m.push('a', candidate).push('a', "end-of-candidates");
                    }
                }
            }
        }
        if let Some(mid) = &self.mid {
            m.push('a', format!("mid:{mid}"));
        }
        if self.mux && m.attribute("rtcp-mux").is_none() {
            m.push('a', "rtcp-mux");
        }
        let has_ice = matches!(self.mode, Mode::Dtls { ice: true, .. });
        let bundle = self.mid.as_ref().filter(|_| self.bundled).map(|mid| format!("group:BUNDLE {mid}"));
        let mut add = |value: String| sdp.session.push(SdpLine { kind: 'a', value });
        if has_ice {
            add("ice-lite".to_owned());
        }
        if let Some(bundle) = bundle {
            add(bundle);
        }
    }
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
