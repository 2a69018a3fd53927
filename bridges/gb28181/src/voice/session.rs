//! One loudspeaker, from the wish to the BYE: one task that owns call, way and seat.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{ChannelId, OnAir, Seat, SeatCommand, SeatReport};
use bytes::Bytes;
use media_core::Codec;
use media_core::ps_mux::PsMuxer;
use media_core::rtp::RtpHeader;
use media_hub::{Fault, Publisher, Pulled, Start, StreamId, SubscribeOptions, Subscriber, Text};
use sip::{Call, CallEvent, EndReason, Method};
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use super::config::Mode;
use super::meter::Meter;
use super::offer::Wrap;
use super::pacer::Pacer;
use super::returned::Returned;
use super::table::Place;
use super::way::Way;
use super::{broadcast, faults, talk};
use crate::config::Quirk;
use crate::faults as general;
use crate::shared::{Shared, SsrcLease, sip_fault};

/// How often the loudness of what was sent is told.
const LEVEL_EVERY: Duration = Duration::from_millis(200);
/// Packets that are made up for after the process was held up; more are left out and the time stamps jump.
const CATCH_UP: u32 = 3;
/// A program stream's map is repeated so often: a device that lost the first packet hears from here on.
const MAP_EVERY: u32 = 50;
/// Bytes of a program stream in one packet.
const PIECE: usize = 1400;

/// Why a talk ends.
pub(super) enum End {
    Left(Text),
    Failed(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Failed(fault)
    }
}

/// The device is reached.
pub(super) struct Link {
    pub call: Call,
    pub way: Way,
    pub wrap: Wrap,
    pub payload_type: u8,
    pub ssrc: u32,
    pub _lease: SsrcLease,
    /// For what it sends back.
    pub returned: Option<Publisher>,
    /// For people.
    pub words: String,
}

/// What the end of a call means where no special word fits.
pub(super) fn declined(why: &EndReason) -> Fault {
    match why {
        EndReason::Rejected(response) => general::rejected(response.code, &response.reason),
        EndReason::Bye(_) => faults::talk_ended_by_device(0),
        EndReason::Timeout => general::signalling_failed("没有应答 / no response"),
        EndReason::FlowClosed => general::device_lost("信令连接断开 / its signalling connection broke"),
        EndReason::Cancelled | EndReason::LocalBye => general::signalling_failed("会话已取消 / cancelled"),
        EndReason::Error(error) => sip_fault(error),
    }
}

/// All that ends a talk from outside, and the seat's orders.
pub(super) struct Watch {
    shared: Arc<Shared>,
    device: String,
    pub seat: Seat,
    /// What is to be sent.
    pub listen: StreamId,
    left: Receiver<String>,
    restarted: Receiver<String>,
    tick: tokio::time::Interval,
}

enum Happened {
    /// Another stream is to be sent.
    Hear,
    End(End),
}

impl Watch {
    fn new(shared: &Arc<Shared>, channel: &ChannelId, seat: Seat) -> Watch {
        Watch {
            device: channel.device().name().to_owned(),
            listen: seat.listen.clone(),
            seat,
            left: shared.left.subscribe(),
            restarted: shared.voice.restarted.subscribe(),
            tick: tokio::time::interval(Duration::from_secs(1)),
            shared: shared.clone(),
        }
    }

    /// Cancel-safe.
    async fn next(&mut self) -> Happened {
        loop {
            tokio::select! {
                command = self.seat.command() => return match command {
                    Some(SeatCommand::Floor(_)) => continue,
                    Some(SeatCommand::Hear(stream)) => {
                        self.listen = stream;
                        Happened::Hear
                    }
                    Some(SeatCommand::HangUp) | None => {
                        Happened::End(End::Left(Text::new("喊话已结束", "the talk was ended")))
                    }
                },
                () = self.shared.ctx.shutdown.cancelled() => {
                    return Happened::End(End::Left(Text::new("网关正在停止", "the gateway stops")));
                }
                gone = self.left.recv() => if gone.is_ok_and(|id| id == self.device) {
                    return Happened::End(general::device_lost("已注销 / logged out").into());
                },
                again = self.restarted.recv() => if again.is_ok_and(|id| id == self.device) {
                    return Happened::End(faults::device_restarted().into());
                },
                _ = self.tick.tick() => if !self.shared.peer(&self.device).is_some_and(|p| p.online) {
                    return Happened::End(general::device_lost("没有心跳 / its keepalives are missed").into());
                },
            }
        }
    }

    /// Does work, unless something ends the talk first.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                happened = self.next() => if let Happened::End(end) = happened {
                    return Err(end);
                },
                done = &mut work => return Ok(done),
            }
        }
    }
}

/// Serves one loudspeaker to its end.
pub(super) async fn serve(shared: Arc<Shared>, channel: ChannelId, seat: Seat, place: Place) {
    let mut watch = Watch::new(&shared, &channel, seat);
    let end = match run(&shared, &channel, &mut watch).await {
        Err(end) => end,
        Ok(never) => match never {},
    };
    // The loudspeaker is free before anybody hears that it is.
    drop(place);
    let (outcome, report) = match end {
        End::Left(text) => ("ended", SeatReport::Left(text)),
        End::Failed(fault) => {
            tracing::info!(channel = %channel, code = fault.code, fault = %fault.en, "a talk ended");
            (fault.code, SeatReport::Failed(fault))
        }
    };
    shared.voice.metrics.talks.with_label_values(&[outcome]).inc();
    watch.seat.report(report).await;
}

async fn run(shared: &Arc<Shared>, channel: &ChannelId, watch: &mut Watch) -> Result<std::convert::Infallible, End> {
    let device = channel.device();
    let own = shared.config.device(device.name()).map(|d| &d.voice);
    let mut rules = shared.config.voice.rules(own);
    if own.is_none_or(|o| o.mode.is_none()) && shared.quirk(device.name(), Quirk::TalkByInvite) {
        rules.mode = Mode::Talk;
    }
    watch.seat.report(SeatReport::Ringing).await;
    let link = match rules.mode {
        Mode::Broadcast => broadcast::connect(shared, channel, watch, rules).await?,
        Mode::Talk => talk::connect(shared, channel, watch, rules).await?,
    };
    tracing::info!(channel = %channel, way = %link.words, "on air");
    let Link { mut call, mut way, wrap, payload_type, ssrc, _lease, returned, words } = link;
    let mut returned = returned.map(Returned::new);
    let returns = returned.as_ref().map(Returned::stream);
    watch.seat.report(SeatReport::OnAir(OnAir { returns, echo_ms: rules.echo_ms, way: words })).await;
    shared.voice.metrics.live.inc();
    let mut outgoing = Outgoing::new(wrap, payload_type, ssrc, rules.packet_ms);
    let end = send(shared, watch, &mut call, &mut way, &mut outgoing, &mut returned).await;
    tracing::debug!(channel = %channel, sent = outgoing.sent, paced = ?outgoing.pacer.stats(), "off air");
    shared.voice.metrics.live.dec();
    call.bye();
    end
}

/// Packets on their way.
struct Outgoing {
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    /// Of 8 kHz samples, whatever the wrapping.
    timestamp: u32,
    packet_ms: u32,
    pacer: Pacer,
    muxer: Option<PsMuxer>,
    since_map: u32,
    sound: Vec<u8>,
    ps: Vec<u8>,
    packets: Vec<Vec<u8>>,
    meter: Meter,
    sent: u64,
    first: bool,
}

impl Outgoing {
    fn new(wrap: Wrap, payload_type: u8, ssrc: u32, packet_ms: u32) -> Outgoing {
        Outgoing {
            payload_type,
            ssrc,
            sequence: rand::random::<u16>() >> 1,
            timestamp: rand::random::<u32>() >> 4,
            packet_ms,
            pacer: Pacer::new(packet_ms as usize * 8),
            muxer: (wrap == Wrap::Ps).then(new_muxer),
            since_map: 0,
            sound: Vec::new(),
            ps: Vec::new(),
            packets: Vec::new(),
            meter: Meter::default(),
            sent: 0,
            first: true,
        }
    }

    fn header(&mut self, marker: bool, timestamp: u32) -> RtpHeader {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        RtpHeader { marker, payload_type: self.payload_type, sequence, timestamp, ssrc: self.ssrc }
    }

    /// Writes the next packet's worth of sound into `packets`.
    fn make(&mut self) {
        let mut sound = std::mem::take(&mut self.sound);
        self.pacer.take(&mut sound);
        self.packets.clear();
        let first = std::mem::replace(&mut self.first, false);
        if self.muxer.is_some() {
            let pts = i64::from(self.timestamp) * 90 / 8;
            let mut ps = std::mem::take(&mut self.ps);
            ps.clear();
            if self.since_map >= MAP_EVERY {
                self.since_map = 0;
                self.muxer = Some(new_muxer());
            }
            self.since_map += 1;
            if let Some(muxer) = &mut self.muxer {
                muxer.audio_pack(&sound, pts, &mut ps);
            }
            let pieces = ps.len().div_ceil(PIECE);
            for (n, piece) in ps.chunks(PIECE).enumerate() {
                let header = self.header(n + 1 == pieces, pts as u32);
                let mut packet = Vec::with_capacity(12 + piece.len());
                header.write(&mut packet, &[piece]);
                self.packets.push(packet);
            }
            self.ps = ps;
        } else {
            let header = self.header(first, self.timestamp);
            let mut packet = Vec::with_capacity(12 + sound.len());
            header.write(&mut packet, &[&sound]);
            self.packets.push(packet);
        }
        self.timestamp = self.timestamp.wrapping_add(sound.len() as u32);
        self.sound = sound;
    }

    /// Time that was left out.
    fn skip(&mut self, packets: u32) {
        self.timestamp = self.timestamp.wrapping_add(packets.saturating_mul(self.packet_ms * 8));
    }

    async fn send(&mut self, shared: &Shared, way: &mut Way) -> Result<(), End> {
        self.make();
        let packets: Vec<&[u8]> = self.packets.iter().map(Vec::as_slice).collect();
        way.send(&packets).await.map_err(|e| faults::talk_closed(&e.to_string()))?;
        self.meter.sent(&self.sound);
        self.sent += packets.len() as u64;
        shared.voice.metrics.packets.inc_by(packets.len() as u64);
        Ok(())
    }
}

fn new_muxer() -> PsMuxer {
    PsMuxer::new(None, Some(Codec::G711A), &Bytes::new())
}

/// Sends until something ends it.
async fn send(
    shared: &Arc<Shared>,
    watch: &mut Watch,
    call: &mut Call,
    way: &mut Way,
    out: &mut Outgoing,
    returned: &mut Option<Returned>,
) -> Result<std::convert::Infallible, End> {
    let step = Duration::from_millis(u64::from(out.packet_ms));
    let mut next = Instant::now();
    let mut next_level = next + LEVEL_EVERY;
    let mut listen: Option<Subscriber> = None;
    let mut retry = next;
    loop {
        tokio::select! {
            biased;
            happened = watch.next() => match happened {
                Happened::Hear => {
                    listen = None;
                    out.pacer.clear();
                }
                Happened::End(end) => return Err(end),
            },
            event = call.next() => match event {
                Some(CallEvent::Ended(EndReason::Bye(_))) => return Err(faults::talk_ended_by_device(out.sent).into()),
                Some(CallEvent::Ended(why)) => return Err(declined(&why).into()),
                Some(CallEvent::Request { tx, request }) => {
                    let code = match request.method {
                        Method::Message | Method::Info | Method::Notify | Method::Options => 200,
                        Method::Invite | Method::Update => 488,
                        _ => 405,
                    };
                    call.respond(tx, request.respond(code));
                }
                Some(_) => {}
                None => return Err(general::signalling_failed("呼叫已不存在 / the call is gone").into()),
            },
            got = way.read() => match got {
                Ok(()) => {
                    let now = Instant::now().into_std();
                    way.each(|data| if let Some(returned) = returned {
                        returned.packet(data, now);
                    });
                }
                Err(why) => return Err(closed(call, out.sent, &why).await.into()),
            },
            pulled = heard(&mut listen) => if let Pulled::Item(item) = pulled
                && item.frame.codec == Codec::G711A
            {
                out.pacer.push(&item.frame.payload);
            },
            () = tokio::time::sleep_until(next) => {}
        }
        let now = Instant::now();
        if let Some(returned) = returned {
            returned.drain(now.into_std());
        }
        if now >= next {
            let behind = (now - next).as_millis() / step.as_millis().max(1);
            let behind = u32::try_from(behind).unwrap_or(u32::MAX);
            if behind > CATCH_UP {
                out.skip(behind - CATCH_UP);
                next += step * (behind - CATCH_UP);
            }
            while next <= now {
                next += step;
                out.send(shared, way).await?;
            }
            if listen.is_none() && now >= retry {
                retry = now + Duration::from_millis(50);
                let options = SubscribeOptions { start: Start::NextKey, ..SubscribeOptions::default() };
                listen = shared.ctx.hub.subscribe(&watch.listen, options).ok();
            }
        }
        if now >= next_level {
            next_level = now + LEVEL_EVERY;
            let report = SeatReport::Sounding { dbov: out.meter.read(), packets: out.sent };
            watch.seat.report(report).await;
        }
    }
}

async fn heard(listen: &mut Option<Subscriber>) -> Pulled {
    match listen {
        Some(listen) => listen.next().await,
        None => std::future::pending().await,
    }
}

/// The media connection ended: by a BYE, if one comes at once.
async fn closed(call: &mut Call, sent: u64, why: &str) -> Fault {
    let until = Instant::now() + Duration::from_millis(500);
    while let Ok(Some(event)) = tokio::time::timeout_at(until, call.next()).await {
        if let CallEvent::Ended(EndReason::Bye(_)) = event {
            return faults::talk_ended_by_device(sent);
        }
    }
    faults::talk_closed(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::rtp::RtpPacket;

    #[test]
    fn packets_follow_one_another_in_both_wrappings() {
        for (wrap, number, ticks) in [(Wrap::Pcma, 8, 320), (Wrap::Ps, 96, 3600)] {
            let mut out = Outgoing::new(wrap, number, 137, 40);
            let mut last: Option<(u16, u32)> = None;
            for n in 0..120u8 {
                out.pacer.push(&[n; 320]);
                out.make();
                assert_eq!(out.packets.len(), 1);
                let Ok(p) = RtpPacket::parse(&out.packets[0]) else { unreachable!() };
                assert_eq!((p.payload_type, p.ssrc), (number, 137));
                if let Some((sequence, timestamp)) = last {
                    assert_eq!(p.sequence, sequence.wrapping_add(1));
                    assert!((i64::from(p.timestamp.wrapping_sub(timestamp)) - ticks).abs() <= 1);
                }
                last = Some((p.sequence, p.timestamp));
                if wrap == Wrap::Ps {
                    assert_eq!(&p.payload[..4], &[0, 0, 1, 0xBA]);
                    // The map in the first packet and each two seconds.
                    let map = p.payload.windows(4).any(|w| w == [0, 0, 1, 0xBC]);
                    assert_eq!(map, u32::from(n) % MAP_EVERY == 0, "packet {n}");
                } else {
                    assert_eq!((p.payload.len(), p.marker), (320, n == 0));
                }
            }
        }
    }
}
