//! One download session: `s=Download`, read as fast as the device sends and the taker takes (GB/T 28181-2022 clause 9.9; reference
//! section 12.8). Going on after a break is the taker's part: it asks again from where it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, FetchOrder, Fetched};
use media_core::MediaKind;
use media_core::gb::GbSession;
use media_core::rtp::RtpPacket;
use media_hub::Fault;
use sip::{CallEvent, EndReason};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::seconds;
use crate::faults;
use crate::live::receiver::{Out, Receiver};
use crate::live::wire::Got;
use crate::shared::Shared;

use super::account;
use super::dialog::{self, Dialog, End};

/// Media that is still under way when the device says that there is no more.
const TAIL_QUIET: Duration = Duration::from_millis(800);
const TAIL_MOST: Duration = Duration::from_secs(20);
/// With all but so much of what was asked for, an end without a word is the end.
const NEAR_S: f64 = 1.5;
const END_QUIET: Duration = Duration::from_secs(3);

struct Work<'a> {
    dialog: Dialog,
    receiver: Receiver,
    to: &'a mpsc::Sender<Fetched>,
    wanted: f64,
    first: Option<i64>,
    last: i64,
    bytes: u64,
    packets: u64,
    no_more: Option<Instant>,
    last_packet: Instant,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    channel: ChannelId,
    order: FetchOrder,
    to: mpsc::Sender<Fetched>,
    stop: CancellationToken,
) -> Result<(), Fault> {
    let gauge = shared.metrics.history_sessions.clone();
    gauge.inc();
    let limit = shared.config.history.max_sessions;
    let result = if gauge.get() > limit as i64 {
        Err(End::Fault(faults::too_many_sessions(limit)))
    } else {
        one(&shared, &channel, order, &to, &stop).await
    };
    gauge.dec();
    let (outcome, result) = match result {
        Ok(()) | Err(End::NoMore) => ("ended", Ok(())),
        Err(End::Stopped) => ("stopped", Err(faults::signalling_failed("已停止 / stopped"))),
        Err(End::Fault(fault)) => (fault.code, Err(fault)),
    };
    shared.metrics.history_total.with_label_values(&["download", outcome]).inc();
    result
}

async fn one(
    shared: &Arc<Shared>,
    channel: &ChannelId,
    order: FetchOrder,
    to: &mpsc::Sender<Fetched>,
    stop: &CancellationToken,
) -> Result<(), End> {
    let start = order.from.div_euclid(1000).max(0);
    let end = (order.to.div_euclid(1000) + i64::from(order.to.rem_euclid(1000) > 0)).max(start + 1);
    let session = GbSession::Download { start: start as u64, end: end as u64, speed: order.speed.max(1) };
    let dialog = dialog::open(shared, channel, &session, stop).await?;
    if let Some(size) = dialog.file_size {
        send(to, Fetched::Size(size), stop).await?;
    }
    let mut work = Work {
        receiver: dialog.receiver(),
        dialog,
        to,
        wanted: (end - start) as f64,
        first: None,
        last: 0,
        bytes: 0,
        packets: 0,
        no_more: None,
        last_packet: Instant::now(),
    };
    let result = work.media(shared, channel, stop).await;
    account(&shared.metrics, &work.receiver);
    work.dialog.call.bye();
    match result {
        Err(End::NoMore) if work.first.is_none() => {
            Err(faults::cut_short(0.0, work.wanted, "没有画面 / no picture came").into())
        }
        other => other,
    }
}

/// False when nobody takes any more.
async fn send(to: &mpsc::Sender<Fetched>, item: Fetched, stop: &CancellationToken) -> Result<(), End> {
    tokio::select! {
        sent = to.send(item) => sent.map_err(|_| End::Stopped),
        () = stop.cancelled() => Err(End::Stopped),
    }
}

impl Work<'_> {
    async fn media(&mut self, shared: &Shared, channel: &ChannelId, stop: &CancellationToken) -> Result<(), End> {
        let mut left = shared.left.subscribe();
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            let wake = self.receiver.next_timeout(now).min(now + Duration::from_millis(200));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(End::Stopped),
                event = self.dialog.call.next() => match event {
                    Some(CallEvent::Ended(why)) => return Err(self.call_ended(&why)),
                    Some(CallEvent::Request { tx, request }) => {
                        if dialog::in_call(&self.dialog.call, tx, &request) {
                            self.no_more.get_or_insert(now);
                        }
                    }
                    Some(_) => {}
                    None => return Err(dialog::gone().into()),
                },
                () = self.dialog.notices.ended() => { self.no_more.get_or_insert(now); }
                Ok(id) = left.recv() => if id == channel.device().name() {
                    return Err(faults::device_lost("已注销 / logged out").into());
                },
                got = self.dialog.wire.read() => {
                    if !matches!(got, Got::Report(..)) {
                        self.packets();
                    }
                    match got {
                        Got::Packets | Got::Report(..) => {}
                        Got::Closed(why) => {
                            self.give(stop).await?;
                            return Err(self.closed(&why).await);
                        }
                        Got::NotRtp(why) => return Err(self.receiver.framing_failed(&why).into()),
                    }
                }
                () = tokio::time::sleep_until(tokio::time::Instant::from_std(wake)) => {}
            }
            self.receiver.tick(Instant::now());
            self.give(stop).await?;
            let now = Instant::now();
            if now >= next_look {
                next_look = now + Duration::from_millis(200);
                send(self.to, Fetched::Bytes(self.bytes), stop).await?;
                self.look(shared, now)?;
            }
        }
    }

    fn packets(&mut self) {
        let now = Instant::now();
        let Work { dialog, receiver, bytes, packets, last_packet, .. } = self;
        dialog.wire.each(|from, data| {
            if let Ok(rtp) = RtpPacket::parse(data) {
                *bytes += rtp.payload.len() as u64;
                *packets += 1;
                *last_packet = now;
            }
            receiver.packet(now, from, data);
        });
    }

    async fn give(&mut self, stop: &CancellationToken) -> Result<(), End> {
        while let Some(out) = self.receiver.poll() {
            match out {
                Out::Tracks(tracks) => send(self.to, Fetched::Tracks(tracks), stop).await?,
                Out::Frame(frame) => {
                    if frame.kind() == MediaKind::Video {
                        self.first.get_or_insert(frame.pts);
                        self.last = self.last.max(frame.pts);
                    }
                    send(self.to, Fetched::Frame(frame), stop).await?;
                }
                // Speed is what was asked for: that time runs otherwise than the clock is no fault.
                Out::Note(..) | Out::Epoch | Out::Warn(_) => {}
            }
        }
        // The taker may have slowed us down: that is no silence of the device.
        Ok(())
    }

    fn got(&self) -> f64 {
        self.first.map_or(0.0, |first| (self.last - first) as f64 / 90_000.0)
    }

    fn near_end(&self) -> bool {
        self.got() >= self.wanted - NEAR_S
    }

    fn look(&self, shared: &Shared, now: Instant) -> Result<(), End> {
        let quiet = now.saturating_duration_since(self.last_packet);
        if let Some(since) = self.no_more
            && (quiet >= TAIL_QUIET || now.saturating_duration_since(since) >= TAIL_MOST)
        {
            return Err(End::NoMore);
        }
        if self.first.is_none() {
            return self.receiver.judge(now).map_err(End::Fault);
        }
        if quiet >= END_QUIET && self.near_end() {
            return Err(End::NoMore);
        }
        let loss = shared.config.history.loss;
        if quiet >= seconds(loss) {
            return Err(faults::media_lost(loss, self.packets).into());
        }
        Ok(())
    }

    fn call_ended(&self, why: &EndReason) -> End {
        match why {
            EndReason::Bye(_) if self.no_more.is_some() || self.near_end() => End::NoMore,
            EndReason::Bye(_) => faults::cut_short(self.got(), self.wanted, "BYE").into(),
            why => dialog::ended(why, 0, self.packets).into(),
        }
    }

    /// The media connection ended: by a 121 or a BYE, if one comes at once.
    async fn closed(&mut self, why: &str) -> End {
        let until = tokio::time::Instant::now() + Duration::from_millis(800);
        loop {
            if self.no_more.is_some() || self.near_end() {
                return End::NoMore;
            }
            tokio::select! {
                event = self.dialog.call.next() => match event {
                    Some(CallEvent::Ended(why)) => return self.call_ended(&why),
                    Some(CallEvent::Request { tx, request }) => {
                        if dialog::in_call(&self.dialog.call, tx, &request) {
                            self.no_more = Some(Instant::now());
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
                () = self.dialog.notices.ended() => self.no_more = Some(Instant::now()),
                () = tokio::time::sleep_until(until) => break,
            }
        }
        faults::cut_short(self.got(), self.wanted, why).into()
    }
}
