//! Whether the sound of a dialog is protected, and how: the site's rules (`phone.srtp`) on top of the crate `media-secure`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use media_core::sdp::{OriginVersion, Sdp, revise};
use media_secure::{Agreed, Kind, Mismatch, Peer, PeerKeys, undress};
use sip::{Flow, FlowId, Target, Transport};

use crate::config::{Config, Srtp};
use crate::faults::Reason;
use crate::phone::Shared;

/// Why a description is refused for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// It is plain, and must not be.
    Needed,
    /// Protected in no way that we know.
    Unusable,
    /// Keys in signalling that anybody on the way can read.
    InClear,
}

impl KeyError {
    pub fn reason(self) -> Reason {
        match self {
            KeyError::Needed => Reason::SrtpNeeded,
            KeyError::Unusable | KeyError::InClear => Reason::MediaKeys,
        }
    }

    /// The text of the Warning header (RFC 3261 20.43).
    pub fn warning(self) -> &'static str {
        match self {
            KeyError::Needed => "304 skybridge \"RTP/SAVP or UDP/TLS/RTP/SAVP needed\"",
            KeyError::Unusable => {
                "306 skybridge \"no known crypto suite without unknown parameters, or no fingerprint\""
            }
            KeyError::InClear => "306 skybridge \"keys are taken over TLS only\"",
        }
    }
}

/// What the site wants of a dialog.
#[derive(Debug, Clone, Copy)]
struct Rules {
    srtp: Srtp,
    keys_in_clear: bool,
    /// Nobody between the phone and us reads the signalling.
    secret: bool,
}

/// Phones remembered at most.
const MOST_KNOWN: usize = 4096;

/// The flows over TLS whose phones have shown that they take their keys by DTLS: they are offered that first. A phone that connects anew
/// shows it again.
#[derive(Debug, Default)]
pub(crate) struct DtlsPhones(Mutex<HashSet<FlowId>>);

impl DtlsPhones {
    fn knows(&self, target: &Target) -> bool {
        matches!(target, Target::Flow(id) if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id))
    }

    /// How the phone at this target took its keys.
    pub fn note(&self, shared: &Shared, target: &Target, dtls: bool) {
        let Target::Flow(id) = target else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !dtls {
            known.remove(id);
        } else if transport(shared, target) == Transport::Tls {
            if known.len() >= MOST_KNOWN {
                known.retain(|id| shared.ctx.sip.flow(*id).is_some());
            }
            if known.len() < MOST_KNOWN {
                known.insert(*id);
            }
        }
    }

    /// Notes what the phone offers of its own accord.
    pub fn offered(&self, shared: &Shared, flow: &Flow, body: &[u8]) {
        let target = Target::Flow(flow.id);
        if flow.transport == Transport::Tls
            && let Ok(mut sdp) = Sdp::parse(body)
            && let PeerKeys::Dtls { .. } = undress(&mut sdp, true).keys
        {
            self.note(shared, &target, true);
        }
    }
}

/// The protection of one dialog's sound.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    inner: media_secure::Security,
    rules: Rules,
    /// It stands in the second offer of a dialog: the first one was answered without keys.
    second: bool,
}

impl Default for Security {
    /// Unprotected, by the rules of a fresh installation.
    fn default() -> Self {
        let config = Config::default();
        let rules = Rules { srtp: config.srtp, keys_in_clear: config.srtp_keys_in_clear, secret: false };
        Security { inner: media_secure::Security::new(Kind::Plain), rules, second: false }
    }
}

fn transport(shared: &Shared, target: &Target) -> Transport {
    match target {
        Target::Flow(id) => shared.ctx.sip.flow(*id).map_or(Transport::Udp, |flow| flow.transport),
        Target::Address(transport, _) => *transport,
    }
}

/// How a far end is offered its sound, best first: what it refuses with 488 is tried again in the next way. `dtls`: also where the site
/// does not require it.
fn kinds(srtp: Srtp, transport: Transport, dtls: bool) -> &'static [Kind] {
    match (transport, srtp) {
        // A page knows nothing else.
        (Transport::Ws | Transport::Wss, Srtp::Require) => &[Kind::Browser],
        (Transport::Ws | Transport::Wss, _) => &[Kind::Browser, Kind::Plain],
        (_, Srtp::Off) => &[Kind::Plain],
        (Transport::Tls, Srtp::Offer) if dtls => &[Kind::Sdes, Kind::Dtls, Kind::Plain],
        (Transport::Tls, Srtp::Offer) => &[Kind::Sdes, Kind::Plain],
        (Transport::Tls, Srtp::Require) => &[Kind::Sdes, Kind::Dtls],
        // No key of ours is ever put where others can read it.
        (Transport::Udp | Transport::Tcp, Srtp::Offer) if dtls => &[Kind::Plain, Kind::Dtls],
        (Transport::Udp | Transport::Tcp, Srtp::Offer) => &[Kind::Plain],
        (Transport::Udp | Transport::Tcp, Srtp::Require) => &[Kind::Dtls],
    }
}

impl Security {
    fn of(shared: &Shared, target: &Target, kind: Option<Kind>) -> Security {
        let transport = transport(shared, target);
        let rules = Rules {
            srtp: shared.config.srtp,
            keys_in_clear: shared.config.srtp_keys_in_clear,
            secret: matches!(transport, Transport::Tls | Transport::Wss),
        };
        let kind = kind.or(kinds(rules.srtp, transport, false).first().copied()).unwrap_or(Kind::Plain);
        Security { inner: media_secure::Security::new(kind), rules, second: false }
    }

    /// A dialog in which the phone makes the first offer.
    pub fn incoming(shared: &Shared, target: &Target) -> Security {
        Security::of(shared, target, Some(Kind::Plain))
    }

    /// A dialog in which we make it, and have one try.
    pub fn offering(shared: &Shared, target: &Target) -> Security {
        Security::of(shared, target, None)
    }

    /// The tries of a call to this target, best first. Each has keys of its own.
    pub fn tries(shared: &Shared, target: &Target, dtls: bool) -> Vec<Security> {
        let known = shared.dtls_phones.knows(target);
        let mut kinds = kinds(shared.config.srtp, transport(shared, target), dtls || known).to_vec();
        if known {
            kinds.sort_by_key(|kind| *kind != Kind::Dtls);
        }
        kinds.into_iter().map(|kind| Security::of(shared, target, Some(kind))).collect()
    }

    /// For the second offer of a dialog whose first one was answered without keys.
    pub fn second(shared: &Shared, target: &Target) -> Security {
        Security { second: true, ..Security::of(shared, target, Some(Kind::Dtls)) }
    }

    /// Takes an offer of the phone. On an error nothing has changed.
    pub fn offered(&mut self, peer: &mut Peer) -> Result<Agreed, KeyError> {
        let rules = self.rules;
        let refused = !(rules.secret || rules.keys_in_clear);
        if peer.is_sdes() && (refused || rules.srtp == Srtp::Off) {
            let optional = peer.without_keys();
            if refused && !optional {
                return Err(KeyError::InClear);
            }
        }
        if peer.is_plain() && rules.srtp == Srtp::Require {
            return Err(KeyError::Needed);
        }
        if peer.is_sdes() && !rules.secret && !self.inner.is_sdes() {
            tracing::warn!("a phone states its media key in signalling that is not encrypted: use TLS, or DTLS-SRTP");
        }
        self.inner.offered(peer).map_err(|_| KeyError::Unusable)
    }

    /// Takes the answer to an offer of ours. On an error nothing has changed.
    pub fn answered(&mut self, peer: &Peer) -> Result<Agreed, KeyError> {
        self.inner.answered(peer).map_err(|error| match error {
            Mismatch::Unusable => KeyError::Unusable,
            Mismatch::Other => KeyError::Needed,
        })
    }

    /// Puts our keys into a description of plain RTP: an answer to the offer taken last, else an offer.
    pub fn dress(&mut self, sdp: &mut Sdp) {
        self.inner.dress(sdp);
    }

    /// As [`Security::dress`], for the offer that was sent and has been answered: what follows it counts on from there.
    pub fn dress_sent(&mut self, sdp: &mut Sdp, origin: &mut OriginVersion) {
        self.dress(sdp);
        if self.second {
            revise(sdp);
            origin.revised();
        }
    }

    /// We offered keys in the description.
    pub fn is_sdes(&self) -> bool {
        self.inner.is_sdes()
    }

    /// Keys come by DTLS.
    pub fn is_dtls(&self) -> bool {
        self.inner.is_dtls()
    }

    /// Reports share the port of the sound.
    pub fn mux(&self) -> bool {
        self.inner.mux()
    }
}
