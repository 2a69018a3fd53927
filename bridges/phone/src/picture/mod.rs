//! The picture of a call with a meeting terminal: H.264 both ways (RFC 6184) on ports of its own beside the sound.
//!
//! - `input`: what the terminal sends, to access units. `output`: access units to what the terminal is sent, at the agreed
//!   pace. `control`: key-frame requests by INFO (RFC 5168). Here: sockets, source latch, RTCP (RFC 3550, 4585, 5104).
//! - What picture the terminal is sent is chosen by the conference; see [`crate::view`].

pub(crate) mod control;
mod input;
mod output;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bridge_core::PictureState;
use media_core::h264_sdp::VideoRefusal;
use media_core::phone::NegotiatedMedia;
use media_core::rtcp::Rtcp;
use media_core::rtp::{RtpPacket, is_rtcp};
use media_core::sdp::{Direction, Sdp};
use media_core::time::MediaClock;
use media_core::{Frame, TrackInfo};
use media_net::{Batch, Latch, PortPool, RtpPair, SourceLatch};

use input::Input;
use output::Output;
pub(crate) use output::Unfit;

use crate::reception::Reception;

const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Key frames are asked for at most this often, whatever the way (RFC 5168 6, and common sense).
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Silence after which the same host and SSRC may send from another port.
const MOVE_AFTER: Duration = Duration::from_secs(1);

/// What a datagram is read into; made with the first picture.
#[derive(Default)]
pub(crate) struct Intake {
    batch: Option<Batch>,
    control: Vec<u8>,
    got: Got,
}

#[derive(Default, Clone, Copy)]
enum Got {
    #[default]
    Nothing,
    /// Datagrams of the RTP port, in the batch.
    Media,
    /// One of the RTCP port: its length and source.
    Control(usize, SocketAddr),
}

pub(crate) struct Picture {
    ports: PortPool,
    /// The most that we send and want, kbit/s; 0: no pictures.
    kbps: u32,
    pair: Option<RtpPair>,
    media: Option<NegotiatedMedia>,
    refused: Option<VideoRefusal>,
    latch: SourceLatch,
    rtcp_source: Option<SocketAddr>,
    input: Input,
    output: Output,
    reception: Reception,
    next_report: Instant,
    reported: u32,
    cname: String,
    origin: Instant,
    fir: u8,
    asked: Option<Instant>,
    /// The terminal refused INFO.
    info_refused: bool,
    bad: u64,
    buffer: Vec<u8>,
}

impl Picture {
    /// `origin` is the instant at which the call's stream counts zero.
    pub fn new(ports: PortPool, kbps: u32, cname: &str, origin: Instant) -> Picture {
        Picture {
            ports,
            kbps,
            pair: None,
            media: None,
            refused: None,
            latch: SourceLatch::new(None),
            rtcp_source: None,
            input: Input::new(&[]),
            output: Output::new(origin),
            reception: Reception::default(),
            next_report: origin,
            reported: 0,
            cname: cname.to_owned(),
            origin,
            fir: 0,
            asked: None,
            info_refused: false,
            bad: 0,
            buffer: Vec::with_capacity(1300),
        }
    }

    /// The port to state in a description, with the limit; none: no picture. Ports are taken with the first one and kept for
    /// the call.
    pub fn port(&mut self) -> Option<(u16, u32)> {
        if self.kbps == 0 {
            return None;
        }
        if self.pair.is_none() {
            self.pair = self
                .ports
                .dual()
                .inspect_err(|error| tracing::warn!(%error, "no media port for a terminal's picture"))
                .ok();
        }
        self.pair.as_ref().map(|p| (p.lease.port(), self.kbps))
    }

    /// The port for an answer: only to who offers a picture that can be taken.
    pub fn port_for(&mut self, offer: &Sdp) -> Option<(u16, u32)> {
        if media_core::phone::offers_picture(offer) { self.port() } else { None }
    }

    /// Whether a picture is agreed on, in whatever direction.
    pub fn agreed(&self) -> bool {
        self.media.is_some()
    }

    /// Takes what a description agreed on. True: the track may have changed.
    pub fn agree(&mut self, media: Option<NegotiatedMedia>, refused: Option<VideoRefusal>, now: Instant) -> bool {
        if let Some(why) = refused.as_ref().filter(|r| Some(*r) != self.refused.as_ref()) {
            tracing::info!(%why, "a terminal's video is refused, its sound goes on");
        }
        self.refused = refused;
        let receives = |m: &Option<NegotiatedMedia>| m.as_ref().is_some_and(|m| m.direction.receives());
        let (had, has) = (receives(&self.media), receives(&media));
        if has != had {
            // A terminal that went on hold and came back begins with a key frame, as one that is new.
            self.input.pause();
        }
        if let Some(terms) = media.as_ref().and_then(|m| m.terms.as_ref()) {
            self.input.parameter_sets(&terms.format.sets);
        }
        self.latch.reopen();
        self.media = media;
        let sending = self.media.as_ref().filter(|m| m.direction.sends());
        let format = sending.and_then(|m| Some((m.terms.as_ref()?.format.clone(), m.payload_type)));
        let limit = self.limit();
        self.output.agree(format, limit);
        self.next_report = now + Duration::from_secs(1);
        had != has
    }

    /// What may be sent, kbit/s: the terminal's bandwidth, its level, and our own limit.
    pub fn limit(&self) -> u32 {
        let terms = self.media.as_ref().and_then(|m| m.terms.as_ref());
        let theirs = terms.map_or(u32::MAX, |t| t.format.max_kbps.min(t.kbps.unwrap_or(u32::MAX)));
        theirs.min(self.kbps)
    }

    /// The agreed terms, when the terminal wants to see something.
    pub fn sends(&self) -> Option<&NegotiatedMedia> {
        self.media.as_ref().filter(|m| m.direction.sends())
    }

    /// Why the offered picture was refused.
    pub fn refused(&self) -> Option<&VideoRefusal> {
        self.refused.as_ref()
    }

    pub fn unfit(&self) -> Option<&Unfit> {
        self.output.unfit()
    }

    /// Times that the link was too small for the pictures.
    pub fn overflows(&self) -> u64 {
        self.output.overflows
    }

    /// The track of the terminal's picture, while it sends one.
    pub fn track(&self) -> Option<TrackInfo> {
        self.media.as_ref().filter(|m| m.direction.receives())?;
        self.input.track()
    }

    /// How the terminal's own picture is.
    pub fn state(&self, now: Instant) -> PictureState {
        let Some(media) = &self.media else { return PictureState::None };
        if media.direction == Direction::Inactive || !media.direction.receives() {
            return PictureState::Muted;
        }
        match self.input.track() {
            _ if self.input.frozen(now) => PictureState::Frozen,
            Some(_) => PictureState::Live,
            None => PictureState::Waiting,
        }
    }

    /// Waits for a datagram; for ever while there are no ports. Cancel-safe.
    pub async fn receive(&self, intake: &mut Intake) -> io::Result<()> {
        let Some(pair) = &self.pair else { return std::future::pending().await };
        intake.control.resize(1500, 0);
        intake.got = Got::Nothing;
        let batch = intake.batch.get_or_insert_default();
        tokio::select! {
            got = pair.rtp.recv(batch) => {
                got?;
                intake.got = Got::Media;
                Ok(())
            }
            // An error here is an ICMP answer to an earlier report.
            got = pair.rtcp.recv_from(&mut intake.control) => {
                if let Ok((n, from)) = got {
                    intake.got = Got::Control(n, media_net::unmapped(from));
                }
                Ok(())
            }
        }
    }

    /// Takes what [`Picture::receive`] got. `sound` is the sound's clock, for lip sync.
    pub fn take(&mut self, intake: &Intake, sound: Option<MediaClock>, now: Instant) {
        match (intake.got, &intake.batch) {
            (Got::Control(n, from), _) => {
                self.on_rtcp(intake.control.get(..n).unwrap_or_default(), from, sound, now);
            }
            (Got::Media, Some(batch)) => batch.iter().for_each(|(data, from)| self.on_rtp(data, from, sound, now)),
            _ => {}
        }
        self.drain(now);
    }

    fn on_rtp(&mut self, data: &[u8], from: SocketAddr, sound: Option<MediaClock>, now: Instant) {
        if is_rtcp(data) {
            return self.on_rtcp(data, from, sound, now);
        }
        let Some(media) = self.media.as_ref().filter(|m| m.direction.receives()) else { return };
        let numbers = [media.receive_payload_type, media.payload_type];
        let packet = RtpPacket::parse(data).ok().filter(|p| numbers.contains(&p.payload_type));
        if let (Some(packet), Some(source)) = (&packet, self.latch.source())
            && source != from
            && source.ip() == from.ip()
            && self.input.ssrc() == Some(packet.ssrc)
            && self.input.heard().is_none_or(|t| now.saturating_duration_since(t) >= MOVE_AFTER)
        {
            // The same terminal behind a NAT that moved its port.
            self.latch.reopen();
        }
        let accepted = self.latch.check(from, packet.is_some(), now) != Latch::Reject;
        let Some(packet) = packet.filter(|_| accepted) else {
            self.bad += 1;
            return;
        };
        if packet.payload.is_empty() {
            // A packet without content keeps a NAT open.
            return;
        }
        self.reception.packet(packet.ssrc, packet.sequence, packet.timestamp, input::CLOCK, true, now);
        self.input.push(&packet, now);
    }

    fn on_rtcp(&mut self, data: &[u8], from: SocketAddr, sound: Option<MediaClock>, now: Instant) {
        // Only from the host that sends the picture, or that the SDP names.
        let known = self.latch.source().or(self.media.as_ref().and_then(|m| m.remote));
        if known.is_none_or(|k| k.ip() != from.ip()) {
            return;
        }
        let Ok(packets) = Rtcp::parse_compound(data) else { return };
        self.rtcp_source = Some(from);
        for packet in packets {
            match packet {
                Rtcp::SenderReport { ntp, rtp, ssrc, .. } => {
                    self.reception.sender_report(ntp, now);
                    if self.input.ssrc() == Some(ssrc) {
                        self.input.sender_report(ntp, rtp, sound);
                    }
                }
                // Some units write no or a wrong media SSRC: the port says what is meant.
                Rtcp::Pli { .. } | Rtcp::Fir { .. } => self.output.key_asked(),
                _ => {}
            }
        }
    }

    /// Moves what is in order on; the pictures are taken with [`Picture::frame`].
    pub fn drain(&mut self, now: Instant) {
        self.input.drain(self.origin, now);
    }

    pub fn frame(&mut self) -> Option<Frame> {
        self.input.frame()
    }

    /// A viewer in the hall needs a key frame of the terminal.
    pub fn want_key(&mut self) {
        self.input.want_key();
    }

    /// The terminal asks for a key frame by INFO.
    pub fn key_asked(&mut self) {
        self.output.key_asked();
    }

    /// A picture for the terminal.
    pub fn push(&mut self, frame: Arc<Frame>, epoch: u32, now: Instant) {
        self.output.push(frame, epoch, now);
        self.flush(now);
    }

    /// Sends what may leave now.
    pub fn flush(&mut self, now: Instant) {
        let Some(to) = self.destination() else { return };
        let Some(pair) = &self.pair else { return };
        while self.output.poll(now, &mut self.buffer) {
            // A full socket buffer or an ICMP error loses this packet, as the network might.
            let _ = pair.rtp.socket().try_send_to(&self.buffer, to);
        }
    }

    fn destination(&self) -> Option<SocketAddr> {
        let media = self.media.as_ref().filter(|m| m.direction.sends())?;
        self.latch.source().or(media.remote)
    }

    /// Whether the source shall be asked for a key frame now.
    pub fn take_key_request(&mut self, now: Instant) -> bool {
        self.output.take_key_request(now)
    }

    /// Asks the terminal for a key frame when one is needed; true: by INFO, which the call sends.
    pub fn ask_key(&mut self, now: Instant) -> bool {
        let Some(media) = self.media.as_ref().filter(|m| m.direction.receives()) else { return false };
        let due = self.asked.is_none_or(|t| now.saturating_duration_since(t) >= ASK_EVERY);
        // Before the first packet there is nobody to ask by RTCP, and a terminal begins with a key frame anyhow.
        let Some(target) = self.input.ssrc().filter(|_| due && self.input.wants_key()) else { return false };
        self.asked = Some(now);
        let (pli, fir) = media.terms.as_ref().map_or((false, false), |t| (t.pli, t.fir));
        let sender = self.output.ssrc;
        let order = if pli {
            Rtcp::Pli { sender, media: target }
        } else if fir {
            self.fir = self.fir.wrapping_add(1);
            Rtcp::Fir { sender, entries: vec![(target, self.fir)] }
        } else {
            return !self.info_refused;
        };
        self.send_rtcp(vec![order], now);
        false
    }

    /// The terminal does not know INFO of this kind: it is not asked by it again.
    pub fn info_refused(&mut self) {
        self.info_refused = true;
    }

    /// Sends a report when it is time (RFC 3550 6.4).
    pub fn report(&mut self, now: Instant) {
        if now >= self.next_report && self.media.is_some() {
            self.next_report = now + REPORT_EVERY;
            self.send_rtcp(Vec::new(), now);
        }
    }

    /// A compound packet: report, name, and what is to be said besides.
    fn send_rtcp(&mut self, more: Vec<Rtcp>, now: Instant) {
        let Some(media) = &self.media else { return };
        let beside =
            |a: SocketAddr| SocketAddr::new(a.ip(), if media.rtcp_mux { a.port() } else { a.port().saturating_add(1) });
        let Some(to) = self.rtcp_source.or(self.latch.source().map(beside)).or(media.remote_rtcp) else { return };
        let Some(pair) = &self.pair else { return };
        let ssrc = self.output.ssrc;
        let reports: Vec<_> = self.reception.block(now).into_iter().collect();
        let sent = self.output.packets != self.reported;
        self.reported = self.output.packets;
        let first = if sent {
            // Of the same clocks as the sound's report: the terminal's lip sync rests on it.
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Rtcp::SenderReport {
                ssrc,
                ntp: media_core::time::ntp_from_unix(wall),
                rtp: self.output.clock(now),
                packets: self.output.packets,
                octets: self.output.octets,
                reports,
            }
        } else {
            Rtcp::ReceiverReport { ssrc, reports }
        };
        let mut all = vec![first, Rtcp::Sdes { ssrc, cname: self.cname.clone() }];
        all.extend(more);
        let socket = if media.rtcp_mux { pair.rtp.socket() } else { &pair.rtcp };
        let _ = socket.try_send_to(&Rtcp::write_compound(&all), to);
    }

    /// Sound and picture have been told apart by their reports: moves the picture where it belongs.
    pub fn align(&mut self, sound: MediaClock) {
        self.input.align(Some(sound));
    }

    /// Packets since the last call that were no RTP of this picture, came from elsewhere or were damaged.
    pub fn take_bad(&mut self) -> u64 {
        std::mem::take(&mut self.bad) + std::mem::take(&mut self.input.bad)
    }

    /// When [`Picture::drain`] or [`Picture::flush`] has something to do again.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.input.next_timeout(), self.output.next_timeout()].into_iter().flatten().min()
    }
}
