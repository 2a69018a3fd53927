//! Sends what the machine of subscriptions orders, and decides what is wanted of a device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::DeviceKind;
use sip::{Method, NameAddr, SipError};

use crate::config::{Quirk, Want};
use crate::edition::Edition;
use crate::ids;
use crate::inbound::Inbound;
use crate::manscdp;
use crate::shared::{Shared, device_id};
use crate::subscribe::{Answer, Order, Topic};

/// News for the machine of subscriptions from other tasks.
pub(crate) enum News {
    Answered {
        id: Arc<str>,
        topic: Topic,
        call_id: String,
        cseq: u32,
        answer: Answer,
    },
    /// More is known of a device: its channels, or that it moves.
    Known(String),
}

/// Cancellations that are sent when the gateway ends; the rest lapses by itself.
const LAST: usize = 2_000;
/// Time for all of them together.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Inbound {
    /// Tells the machine what is wanted of a device. `again`: it has registered anew.
    pub(crate) fn want_subscriptions(&mut self, id: &str, now: Instant, again: bool) {
        let shared = self.shared.clone();
        let Some(peer) = shared.peer(id).filter(|p| p.online) else { return };
        if shared.quirk(id, Quirk::NoSubscribe) {
            // Not even to end what may stand: it fails on any SUBSCRIBE.
            self.subscriptions.forget(id);
            return;
        }
        let kind = shared.ctx.registry.get(&device_id(id)).map(|d| d.kind);
        let wide = matches!(kind, Some(DeviceKind::Nvr | DeviceKind::Platform));
        let platform = kind == Some(DeviceKind::Platform);
        let topics: Vec<(Topic, u32)> = Topic::ALL
            .into_iter()
            .filter(|topic| *topic != Topic::PtzPosition || shared.edition(id, &peer) >= Some(Edition::V2022))
            .filter(|topic| match (shared.config.wants(id, *topic), topic) {
                (Want::Never, _) => false,
                (Want::Always, _) | (Want::Auto, Topic::Alarm) => true,
                (Want::Auto, Topic::Catalog) => wide,
                (Want::Auto, Topic::MobilePosition) => platform || peer.mobile || ids::type_code(id) == Some(138),
                (Want::Auto, Topic::PtzPosition) => false,
            })
            .map(|topic| (topic, shared.config.subscribe.expires))
            .collect();
        let cancelled = self.subscriptions.want(now, id, &topics, again);
        self.send_orders(cancelled);
    }

    pub(crate) fn send_orders(&self, orders: Vec<Order>) {
        for order in orders {
            let shared = self.shared.clone();
            self.shared.tasks.spawn(async move { carry_out(&shared, order).await });
        }
    }

    pub(crate) fn subscription_news(&mut self, news: News, now: Instant) {
        match news {
            News::Answered { id, topic, call_id, cseq, answer } => {
                match &answer {
                    Answer::Granted { expires, .. } => {
                        tracing::debug!(device = %id, ?topic, ?expires, "subscribed");
                    }
                    Answer::Refused(code) => {
                        tracing::info!(device = %id, ?topic, code, "the device refuses a subscription");
                    }
                    other => tracing::debug!(device = %id, ?topic, ?other, "a subscription is tried again"),
                }
                self.shared.metrics.subscribes.with_label_values(&[outcome(&answer)]).inc();
                self.subscriptions.answered(now, &id, topic, &call_id, cseq, answer);
            }
            News::Known(id) => self.want_subscriptions(&id, now, false),
        }
    }

    /// Counts what stands.
    pub(crate) fn count_subscriptions(&self) {
        for topic in Topic::ALL {
            let standing = self.subscriptions.standing(topic);
            self.shared.metrics.subscriptions.with_label_values(&[topic.command()]).set(standing as i64);
        }
    }

    /// Tells all devices that the gateway listens no more.
    pub(crate) async fn end_subscriptions(&mut self) {
        let orders = self.subscriptions.cancel_all();
        if orders.is_empty() {
            return;
        }
        let count = orders.len();
        let sending = orders.into_iter().take(LAST).map(|order| send(&self.shared, order));
        let sending = futures_join(sending.collect());
        if tokio::time::timeout(LAST_WORDS, sending).await.is_err() {
            tracing::debug!(count, "not every device confirmed the end of its subscriptions");
        }
    }
}

/// All at once, without a task for each.
async fn futures_join(futures: Vec<impl Future<Output = Answer>>) {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        waiting.retain_mut(|f| f.as_mut().poll(cx).is_pending());
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Granted { .. } => "granted",
        Answer::Gone => "gone",
        Answer::TooShort(_) => "too_short",
        Answer::Refused(_) => "refused",
        Answer::Failed => "failed",
    }
}

async fn carry_out(shared: &Arc<Shared>, order: Order) {
    let (id, topic) = (order.id.clone(), order.topic);
    let (call_id, cseq, ending) = (order.dialog.call_id.clone(), order.dialog.cseq, order.expires == 0);
    let answer = send(shared, order).await;
    if !ending {
        // Bounded by the orders in flight: the queue holds far more.
        let _ = shared.news.send(News::Answered { id, topic, call_id, cseq, answer }).await;
    }
}

/// What stands in the body beside the id.
fn wish(shared: &Shared, id: &str, topic: Topic) -> String {
    match topic {
        Topic::Catalog | Topic::PtzPosition => String::new(),
        Topic::Alarm => "<StartAlarmPriority>0</StartAlarmPriority>\r\n<EndAlarmPriority>0</EndAlarmPriority>\r\n\
                         <AlarmMethod>0</AlarmMethod>\r\n"
            .to_owned(),
        Topic::MobilePosition => format!("<Interval>{}</Interval>\r\n", shared.config.position_interval(id)),
    }
}

async fn send(shared: &Arc<Shared>, order: Order) -> Answer {
    let id = &*order.id;
    let Ok((peer, target)) = shared.reach(id) else { return Answer::Failed };
    let dialog = &order.dialog;
    let mut req = shared.request_to(Method::Subscribe, id, &peer, &target);
    if let Some(from) = req.from() {
        let uri = from.uri;
        req.headers.set("From", NameAddr::new(uri).with_tag(&dialog.local_tag).to_string());
    }
    if let (Some(to), Some(tag)) = (req.to(), dialog.remote_tag.as_deref().filter(|t| !t.is_empty())) {
        req.headers.set("To", NameAddr::new(to.uri).with_tag(tag).to_string());
    }
    req.headers.set("Call-ID", &dialog.call_id);
    req.headers.set("CSeq", format!("{} SUBSCRIBE", dialog.cseq));
    req.headers.set("Event", format!("{};id={}", shared.config.event(id, order.topic), dialog.event_id));
    req.headers.set("Expires", order.expires.to_string());
    req.headers.set("Accept", manscdp::CONTENT_TYPE);
    let charset = shared.charset(id, &peer);
    let inner = wish(shared, id, order.topic);
    let body = manscdp::query_with(charset, order.topic.command(), shared.next_sn(), id, &inner);
    req.set_body(manscdp::CONTENT_TYPE, body);
    match shared.ctx.sip.request(target, req).await {
        Ok(response) => {
            let tag = response.to().and_then(|t| t.tag().map(str::to_owned));
            let min = response.headers.get("Min-Expires").and_then(|m| m.trim().parse().ok());
            Answer::of(response.code, tag, response.expires(), min)
        }
        Err(SipError::Invalid(why)) => {
            tracing::error!(device = id, why, "a SUBSCRIBE could not be written");
            Answer::Refused(0)
        }
        Err(_) => Answer::Failed,
    }
}
