//! What a session description says of keys, taken out of it and put into it (RFC 4568, RFC 5763, RFC 8839, RFC 9143).
//!
//! The rest of a bridge reads and writes descriptions of plain RTP: [`undress`] turns the section of a protected stream
//! into one, and [`crate::Security`] dresses ours.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use is::IceCreds;
use media_core::sdp::{Media, Sdp, Setup};

use crate::sdes::Crypto;

/// Key lines and fingerprints read of one section.
const MOST_LINES: usize = 8;
/// A browser whose candidates are hidden states 0.0.0.0, which is no hold (RFC 8839 4.3.1.4). In its place stands this address of
/// RFC 5737; nothing is ever sent there, since ICE says where to.
const NOWHERE: &str = "IN IP4 192.0.2.1";

/// The hash of a certificate in `a=fingerprint` (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    bits: u16,
    hash: Vec<u8>,
}

impl Fingerprint {
    /// Reads the value of the attribute; SHA-256 and longer only.
    pub fn parse(value: &str) -> Option<Fingerprint> {
        let (name, hex) = value.split_once(' ')?;
        let bits = match name.to_ascii_lowercase().as_str() {
            "sha-256" => 256,
            "sha-384" => 384,
            "sha-512" => 512,
            _ => return None,
        };
        let hash: Option<Vec<u8>> = hex.trim().split(':').take(65).map(|h| u8::from_str_radix(h, 16).ok()).collect();
        hash.filter(|h| h.len() == usize::from(bits) / 8).map(|hash| Fingerprint { bits, hash })
    }

    /// Whether this is the hash of that certificate (DER).
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.bits {
            256 => &SHA256,
            384 => &SHA384,
            _ => &SHA512,
        };
        digest(algorithm, certificate).as_ref() == self.hash.as_slice()
    }
}

/// How a section is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerKeys {
    /// Plain RTP.
    Plain,
    /// Keys in the description; at least one line.
    Sdes(Vec<Crypto>),
    /// Keys by DTLS; at least one fingerprint.
    Dtls { fingerprints: Vec<Fingerprint>, setup: Setup, ice: Option<IceCreds> },
    /// Protected, but in no way that we know.
    Unusable,
}

/// What the far end says of the protection of its sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub keys: PeerKeys,
    /// Reports share the port of the sound (RFC 5761).
    pub mux: bool,
    /// The section's place among all.
    pub(crate) at: usize,
    /// The protocol as it was written.
    pub(crate) proto: String,
    pub(crate) mid: Option<String>,
    pub(crate) bundled: bool,
}

impl Peer {
    pub fn is_plain(&self) -> bool {
        self.keys == PeerKeys::Plain
    }

    /// The keys stand in the description itself.
    pub fn is_sdes(&self) -> bool {
        matches!(self.keys, PeerKeys::Sdes(_))
    }

    /// Takes the keys away where the far end can do without them (keys beside RTP/AVP); false where it cannot.
    pub fn without_keys(&mut self) -> bool {
        let optional = is(&self.proto, ["RTP/AVP", "RTP/AVPF"]);
        if optional {
            self.keys = PeerKeys::Plain;
        }
        optional
    }
}

fn is(proto: &str, of: [&str; 2]) -> bool {
    of.iter().any(|p| proto.eq_ignore_ascii_case(p))
}

/// An attribute of the section or else of the session.
fn attribute<'a>(sdp: &'a Sdp, m: &'a Media, name: &'a str) -> Option<&'a str> {
    m.attribute(name).or_else(|| sdp.attribute(name))
}

fn dtls(sdp: &Sdp, m: &Media) -> Option<PeerKeys> {
    let mut fingerprints: Vec<Fingerprint> =
        m.attributes("fingerprint").take(MOST_LINES).filter_map(Fingerprint::parse).collect();
    if fingerprints.is_empty() {
        fingerprints.extend(sdp.attribute("fingerprint").and_then(Fingerprint::parse));
    }
    let setup = match attribute(sdp, m, "setup").unwrap_or("actpass").to_ascii_lowercase().as_str() {
        "active" => Setup::Active,
        "passive" => Setup::Passive,
        _ => Setup::ActPass,
    };
    let sized = |v: &str, least: usize| (least..=256).contains(&v.len());
    let ufrag = attribute(sdp, m, "ice-ufrag").filter(|v| sized(v, 4));
    let pass = attribute(sdp, m, "ice-pwd").filter(|v| sized(v, 22));
    let ice = ufrag.zip(pass).map(|(u, p)| IceCreds { ufrag: u.to_owned(), pass: p.to_owned() });
    (!fingerprints.is_empty()).then_some(PeerKeys::Dtls { fingerprints, setup, ice })
}

fn sdes(m: &Media) -> Option<PeerKeys> {
    let lines: Vec<Crypto> = m.attributes("crypto").take(MOST_LINES).filter_map(Crypto::parse).collect();
    (!lines.is_empty()).then_some(PeerKeys::Sdes(lines))
}

fn keys(sdp: &Sdp, m: &Media) -> Option<PeerKeys> {
    let proto = m.proto.as_str();
    if is(proto, ["RTP/AVP", "RTP/AVPF"]) {
        // Best effort, as many phones write it: keys beside a protocol that needs none.
        Some(sdes(m).unwrap_or(PeerKeys::Plain))
    } else if is(proto, ["RTP/SAVP", "RTP/SAVPF"]) {
        // Old browsers wrote this protocol for DTLS too.
        Some(sdes(m).or_else(|| dtls(sdp, m)).unwrap_or(PeerKeys::Unusable))
    } else if is(proto, ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]) {
        Some(dtls(sdp, m).unwrap_or(PeerKeys::Unusable))
    } else {
        None
    }
}

/// Reads what the first usable audio section says of keys and makes it one of plain RTP; other audio sections are set aside, as if refused.
/// `secure`: a protected section is taken before a plain one.
pub fn undress(sdp: &mut Sdp, secure: bool) -> Peer {
    let found: Vec<(usize, PeerKeys)> = sdp
        .media
        .iter()
        .enumerate()
        .filter(|(_, m)| m.kind == "audio" && m.port != 0)
        .filter_map(|(i, m)| Some((i, keys(sdp, m)?)))
        .collect();
    let usable = |k: &PeerKeys| *k != PeerKeys::Unusable;
    let chosen = found
        .iter()
        .filter(|(_, k)| usable(k))
        .min_by_key(|(_, k)| (*k == PeerKeys::Plain) == secure)
        .or(found.first())
        .cloned();
    let Some((at, keys)) = chosen else {
        let keys = PeerKeys::Plain;
        return Peer { keys, mux: false, at: 0, proto: String::new(), mid: None, bundled: false };
    };
    let bundle = sdp.attribute("group").filter(|g| g.starts_with("BUNDLE")).map(str::to_owned);
    for (i, m) in sdp.media.iter_mut().enumerate() {
        if i != at && m.kind == "audio" {
            m.port = 0;
        }
    }
    let unspecified = sdp.media.get(at).and_then(|m| sdp.address_of(m)).is_none_or(|a| a.is_unspecified());
    let mut peer = Peer { keys, mux: false, at, proto: String::new(), mid: None, bundled: false };
    let Some(m) = sdp.media.get_mut(at) else { return peer };
    peer.mux = m.attribute("rtcp-mux").is_some();
    peer.mid = m.attribute("mid").filter(|v| v.len() <= 64).map(str::to_owned);
    peer.bundled = match (&peer.mid, &bundle) {
        (Some(mid), Some(group)) => group.split_ascii_whitespace().skip(1).any(|v| v == mid),
        _ => false,
    };
    peer.proto = m.proto.clone();
    match &peer.keys {
        // Left as it is: whoever reads on finds no plain section.
        PeerKeys::Unusable => return peer,
        PeerKeys::Dtls { ice: Some(_), .. } if unspecified => {
            m.lines.retain(|l| l.kind != 'c');
            m.push('c', NOWHERE);
        }
        _ => {}
    }
    let feedback = m.proto.to_ascii_uppercase().ends_with("AVPF");
    m.proto = if feedback { "RTP/AVPF" } else { "RTP/AVP" }.to_owned();
    peer
}
