//! What a leg is, whichever way it is built, and what is told of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use media_hub::StreamId;

/// Name of a leg: 128 random bits, so that knowing one is no easier than guessing a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegId(u128);

impl LegId {
    pub(crate) fn random() -> Self {
        LegId(rand::random())
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(s: &str) -> Option<Self> {
        (s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(s, 16).ok().map(LegId))?
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegId({self})")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LegKind {
    /// WHEP: sees and hears.
    Viewer,
    /// WHIP: sends camera and microphone, hears a mix.
    TwoWay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LegState {
    Connecting,
    Connected,
    Closed,
}

/// Why a leg ended. `code` is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The hall ended it: DELETE, rights withdrawn, conference over.
    Hall,
    /// The browser closed (DTLS close_notify).
    Peer,
    /// No connection within the limit (15 s).
    NeverConnected,
    /// No ICE consent for 30 s.
    Consent,
    /// The DTLS handshake failed.
    Dtls,
    /// The peer's certificate is not the one of its offer.
    Fingerprint,
    /// The session machine failed; counted, and no other leg is touched.
    Internal,
    /// The endpoint was shut down.
    Shutdown,
}

impl CloseReason {
    pub fn code(self) -> &'static str {
        match self {
            CloseReason::Hall => "ended_here",
            CloseReason::Peer => "ended_by_browser",
            CloseReason::NeverConnected => "never_connected",
            CloseReason::Consent => "connection_lost",
            CloseReason::Dtls => "dtls_failed",
            CloseReason::Fingerprint => "wrong_certificate",
            CloseReason::Internal => "internal",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// A change of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEvent {
    /// The transport stands.
    Connected {
        leg: LegId,
        remote: SocketAddr,
    },
    /// The first whole key frame was sent (viewer) or received (two-way).
    FirstFrame {
        leg: LegId,
    },
    /// Only key frames are sent, or the whole stream again.
    Reduced {
        leg: LegId,
        reduced: bool,
    },
    Closed {
        leg: LegId,
        reason: CloseReason,
    },
}

/// A snapshot of a leg.
#[derive(Debug, Clone)]
pub struct LegStatus {
    pub id: LegId,
    /// What a viewer sees, or what a two-way leg publishes.
    pub stream: StreamId,
    pub kind: LegKind,
    pub state: LegState,
    pub remote: Option<SocketAddr>,
    /// RTP packets sent; retransmissions are not counted.
    pub packets: u64,
    /// Payload bytes of them.
    pub bytes: u64,
    /// RTP packets and bytes received (two-way legs).
    pub received_packets: u64,
    pub received_bytes: u64,
    /// Lost at the far end by its reports, or by us on the way in for two-way legs.
    pub lost: u64,
    /// Packets asked for again by the far end.
    pub nacks: u64,
    /// Retransmissions sent.
    pub rtx: u64,
    /// Key frame requests of the far end, or ours to a two-way leg's camera.
    pub plis: u64,
    /// What the far end believes to be able to receive, bit/s; 0 if unknown.
    pub estimate_bps: u64,
    /// Only key frames are sent, since the leg does not carry the stream.
    pub reduced: bool,
    /// The browser has no H.265: it gets H.264 that was made here.
    pub transcoded: bool,
    /// SRTP protection profile by its IANA name; none for two-way legs, whose machine does not tell it.
    pub dtls_profile: Option<&'static str>,
    pub created_at: Instant,
    pub connected_at: Option<Instant>,
    /// When the first whole key frame was sent (viewer) or received (two-way).
    pub first_frame_at: Option<Instant>,
    pub created_wall: SystemTime,
    /// Smoothed round trip in milliseconds by RTCP, 0 if unknown.
    pub rtt_ms: u32,
    /// Audio jitter of a two-way leg's microphone in milliseconds.
    pub jitter_ms: u32,
    pub closed: Option<CloseReason>,
}

#[derive(Debug)]
struct Slow {
    stream: StreamId,
    state: LegState,
    remote: Option<SocketAddr>,
    profile: Option<&'static str>,
    connected_at: Option<Instant>,
    first_frame_at: Option<Instant>,
    closed: Option<(CloseReason, Instant)>,
}

/// Shared between a leg's owner and those who ask.
#[derive(Debug)]
pub(crate) struct LegShared {
    pub id: LegId,
    kind: LegKind,
    created_at: Instant,
    created_wall: SystemTime,
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    pub received_packets: AtomicU64,
    pub received_bytes: AtomicU64,
    pub lost: AtomicU64,
    pub nacks: AtomicU64,
    pub rtx: AtomicU64,
    pub plis: AtomicU64,
    pub estimate: AtomicU64,
    pub rtt_ms: AtomicU64,
    pub jitter_ms: AtomicU64,
    pub reduced: AtomicBool,
    pub transcoded: AtomicBool,
    slow: Mutex<Slow>,
}

impl LegShared {
    pub fn new(id: LegId, kind: LegKind, stream: StreamId) -> Self {
        let n = || AtomicU64::new(0);
        LegShared {
            id,
            kind,
            created_at: Instant::now(),
            created_wall: SystemTime::now(),
            packets: n(),
            bytes: n(),
            received_packets: n(),
            received_bytes: n(),
            lost: n(),
            nacks: n(),
            rtx: n(),
            plis: n(),
            estimate: n(),
            rtt_ms: n(),
            jitter_ms: n(),
            reduced: AtomicBool::new(false),
            transcoded: AtomicBool::new(false),
            slow: Mutex::new(Slow {
                stream,
                state: LegState::Connecting,
                remote: None,
                profile: None,
                connected_at: None,
                first_frame_at: None,
                closed: None,
            }),
        }
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn created_at(&self) -> Instant {
        self.created_at
    }

    pub fn closed_at(&self) -> Option<Instant> {
        self.slow().closed.map(|(_, at)| at)
    }

    pub fn state(&self) -> LegState {
        self.slow().state
    }

    pub fn connected(&self, remote: SocketAddr, profile: Option<&'static str>) {
        let mut s = self.slow();
        s.state = LegState::Connected;
        s.remote = Some(remote);
        s.profile = profile;
        s.connected_at.get_or_insert_with(Instant::now);
    }

    pub fn moved(&self, remote: SocketAddr) {
        self.slow().remote = Some(remote);
    }

    /// True the first time.
    pub fn first_frame(&self) -> bool {
        let mut s = self.slow();
        let first = s.first_frame_at.is_none();
        s.first_frame_at.get_or_insert_with(Instant::now);
        first
    }

    /// True the first time.
    pub fn closed(&self, reason: CloseReason) -> bool {
        let mut s = self.slow();
        let first = s.state != LegState::Closed;
        s.state = LegState::Closed;
        s.closed.get_or_insert((reason, Instant::now()));
        first
    }

    pub fn status(&self) -> LegStatus {
        let s = self.slow();
        LegStatus {
            id: self.id,
            stream: s.stream.clone(),
            kind: self.kind,
            state: s.state,
            remote: s.remote,
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            received_packets: self.received_packets.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            lost: self.lost.load(Relaxed),
            nacks: self.nacks.load(Relaxed),
            rtx: self.rtx.load(Relaxed),
            plis: self.plis.load(Relaxed),
            estimate_bps: self.estimate.load(Relaxed),
            reduced: self.reduced.load(Relaxed),
            transcoded: self.transcoded.load(Relaxed),
            dtls_profile: s.profile,
            created_at: self.created_at,
            connected_at: s.connected_at,
            first_frame_at: s.first_frame_at,
            created_wall: self.created_wall,
            rtt_ms: self.rtt_ms.load(Relaxed) as u32,
            jitter_ms: self.jitter_ms.load(Relaxed) as u32,
            closed: s.closed.map(|(reason, _)| reason),
        }
    }
}
