//! Recordings in the devices: RecordInfo, Playback, Download (GB/T 28181-2022 clauses 9.7 to 9.9; reference sections 8.4, 9.2, 11,
//! 12.7, 12.8).

mod clock;
mod dialog;
mod download;
mod landing;
pub mod mansrtsp;
mod playback;
pub mod records;
pub(crate) mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bridge_core::{
    BoxFuture, ChannelId, ChannelKind, FetchOrder, Fetched, History, Listing, Playback, PlaybackPhase, PlaybackState,
    Timestamp,
};
use media_hub::{Fault, StreamId};
use sip::{Method, Request};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::seconds;
use crate::faults;
use crate::gather::Limits;
use crate::live::receiver::Receiver;
use crate::manscdp::{self, Manscdp};
use crate::metrics::Metrics;
use crate::shared::{Pending, Shared};

use clock::Clock;
use playback::Player;
use records::Gather;

/// Answers kept at once.
const CACHED: usize = 256;
/// Orders that may wait at one playback.
const ORDERS: usize = 16;
/// Messages of one answer that wait to be taken.
const PIECES: usize = 256;
/// Longest range that is asked for: a recorder that holds months would answer for minutes.
const LONGEST_MS: i64 = 32 * 86_400_000;

/// Answers given shortly before, by channel and range.
pub(crate) type Cache = dashmap::DashMap<(String, i64, i64), (Instant, Listing)>;

/// Counts what a receiver saw.
fn account(m: &Metrics, receiver: &Receiver) {
    let [taken, lost, ssrc, elsewhere, not_rtp, ps] = receiver.counts();
    m.packets.inc_by(taken);
    m.packets_lost.inc_by(lost);
    m.ps_errors.inc_by(ps);
    for (reason, count) in [("ssrc", ssrc), ("source", elsewhere), ("not_rtp", not_rtp)] {
        m.packets_refused.with_label_values(&[reason]).inc_by(count);
    }
}

/// The bridge's [`History`].
pub(crate) struct GbHistory(pub Arc<Shared>);

impl GbHistory {
    fn known(&self, channel: &ChannelId) -> Result<String, Fault> {
        match self.0.ctx.registry.channel(channel) {
            Some((_, found)) if found.kind == ChannelKind::Video => Ok(found.name),
            Some(_) => Err(faults::not_supported("此通道没有录像 / recordings of this channel")),
            None => Err(faults::unknown_channel(&channel.0)),
        }
    }

    async fn ask(&self, channel: &ChannelId, from: i64, to: i64) -> Result<(Listing, bool), Fault> {
        let shared = &self.0;
        let (device, name) = (channel.device(), channel.name().to_owned());
        let id = device.name();
        let history = &shared.config.history;
        let (peer, target) = shared.reach(id)?;
        let sn = shared.next_sn();
        let (tx, answers) = mpsc::channel(PIECES);
        shared
            .pending
            .insert(sn, Pending { device: id.to_owned(), about: name.clone(), command: "RecordInfo", answers: tx });
        let mut asked = crate::shared::Asked { sn, shared: shared.clone(), answers };
        let mut req = shared.request_to(Method::Message, id, &peer, &target);
        let body = records::query(shared.charset(id, &peer), sn, &name, from, to, history.indistinct);
        req.set_body(manscdp::CONTENT_TYPE, body);
        match tokio::time::timeout(seconds(history.first), shared.ctx.sip.request(target, req)).await {
            Ok(Ok(response)) if response.is_success() => {}
            Ok(Ok(r)) => return Err(faults::signalling_failed(&format!("{} {}", r.code, r.reason))),
            Ok(Err(e)) => return Err(crate::shared::sip_fault(&e)),
            Err(_) => return Err(faults::signalling_failed("没有应答 / no response")),
        }
        let limits = Limits {
            first: seconds(history.first),
            idle: seconds(history.idle),
            total: seconds(history.total),
            items: history.max_items,
        };
        let mut gather = Gather::new(Instant::now(), limits);
        loop {
            let until = tokio::time::Instant::from_std(gather.deadline());
            match tokio::time::timeout_at(until, asked.answers.recv()).await {
                Ok(Some(message)) => {
                    if gather.add(Instant::now(), records::piece(&message.tree)) {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        if !gather.any() {
            return Err(faults::no_record_answer(history.first));
        }
        let (items, complete) = gather.finish();
        // Some devices answer with the whole day, whatever was asked for.
        let items = items.into_iter().filter(|i| i.to.0 > from && i.from.0 < to).collect();
        Ok((Listing { items, complete, asked_at: Timestamp::now() }, complete))
    }

    async fn listing(&self, channel: ChannelId, from: i64, to: i64, fresh: bool) -> Result<Listing, Fault> {
        self.known(&channel)?;
        if to <= from || to - from > LONGEST_MS {
            return Err(faults::not_supported(
                "时段须在 32 天以内 / a range of more than 32 days, or one that ends before it begins",
            ));
        }
        let cache = &self.0.listings;
        let keep = seconds(self.0.config.history.cache);
        let key = (channel.0.clone(), from, to);
        if !fresh && let Some(found) = cache.get(&key).filter(|f| f.0.elapsed() < keep) {
            return Ok(found.1.clone());
        }
        let mut outcome = self.ask(&channel, from, to).await;
        // A lost piece is asked for once more.
        if matches!(&outcome, Ok((_, false)))
            && let Ok(again) = self.ask(&channel, from, to).await
        {
            outcome = Ok(again);
        }
        let word = match &outcome {
            Ok((_, true)) => "complete",
            Ok((_, false)) => "partial",
            Err(_) => "failed",
        };
        self.0.metrics.record_queries.with_label_values(&[word]).inc();
        let (listing, complete) = outcome?;
        if complete && !keep.is_zero() {
            cache.retain(|_, (at, _)| at.elapsed() < keep);
            if cache.len() < CACHED {
                cache.insert(key, (Instant::now(), listing.clone()));
            }
        }
        Ok(listing)
    }
}

impl History for GbHistory {
    fn list(&self, channel: ChannelId, from: i64, to: i64, fresh: bool) -> BoxFuture<'_, Result<Listing, Fault>> {
        Box::pin(self.listing(channel, from, to, fresh))
    }

    fn play(&self, channel: ChannelId, span: (i64, i64), at: i64, stream: StreamId) -> Result<Playback, Fault> {
        let name = self.known(&channel)?;
        let shared = self.0.clone();
        let publisher =
            shared.ctx.hub.publish(&stream, &name).map_err(|e| faults::signalling_failed(&e.to_string()))?;
        let first = PlaybackState {
            phase: PlaybackPhase::Starting,
            position: Timestamp(at),
            at: Timestamp::now(),
            speed: 1.0,
            fault: None,
        };
        let (state_tx, state) = watch::channel(first);
        let (orders, requests) = mpsc::channel(ORDERS);
        let stop = shared.ctx.shutdown.child_token();
        let player = Player {
            shared: shared.clone(),
            channel,
            publisher,
            orders: requests,
            state: state_tx,
            stop: stop.clone(),
            from: span.0,
            to: span.1.max(span.0 + 1000),
            begin: at,
            speed: 1.0,
            clock: Clock::new(at),
            audio_rate: 8000,
        };
        shared.tasks.spawn(player.run());
        Ok(Playback { stream, orders, state, stop: stop.drop_guard() })
    }

    fn fetch(
        &self,
        channel: ChannelId,
        order: FetchOrder,
        to: mpsc::Sender<Fetched>,
        stop: CancellationToken,
    ) -> BoxFuture<'_, Result<(), Fault>> {
        let shared = self.0.clone();
        Box::pin(async move {
            self.known(&channel)?;
            let both = stop.child_token();
            let end = shared.ctx.shutdown.clone();
            // In the bridge's own tracker: at the gateway's end the BYE goes out before the signalling stops.
            let (inner, guard) = (both.clone(), both.clone().drop_guard());
            let work = shared.tasks.spawn({
                let shared = shared.clone();
                async move {
                    let watch = inner.clone();
                    let run = download::run(shared, channel, order, to, inner);
                    tokio::pin!(run);
                    tokio::select! {
                        result = &mut run => result,
                        () = end.cancelled() => {
                            watch.cancel();
                            run.await
                        }
                    }
                }
            });
            let result = work.await;
            drop(guard);
            result.unwrap_or_else(|_| Err(faults::signalling_failed("内部错误 / the session broke")))
        })
    }
}

/// A MESSAGE that says that a recording has come to its end, outside of a dialog: tells the session that it means, and gives
/// that session's device.
pub(crate) fn no_more(
    shared: &Shared,
    device: Option<&str>,
    req: &Request,
    source: SocketAddr,
    message: &Manscdp,
) -> Option<String> {
    if !dialog::is_121(message) {
        return None;
    }
    shared.history.no_more(req.call_id().unwrap_or(""), device, source, &message.device)
}
