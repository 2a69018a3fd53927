//! Orders given and questions asked: what is sent, what is waited for, what it came to (GB/T 28181-2022 clauses 9.3 and 9.5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Answer, Channel, ChannelId, Done, Object, Order, Query, Setting};
use media_hub::Fault;
use tokio::sync::Semaphore;

use crate::answers::{self, Collect};
use crate::blocks;
use crate::config::{Quirk, seconds};
use crate::facts;
use crate::faults;
use crate::hold::Motion;
use crate::manscdp;
use crate::orders::{self, NotSent};
use crate::ptz::PtzCommand;
use crate::refresh;
use crate::shared::{Shared, lock};

/// Questions and answered orders under way at once, over all devices.
pub(crate) const AT_ONCE: usize = 256;
/// Silence between two messages of one answer, after which the rest is given up.
const IDLE: Duration = Duration::from_secs(2);

/// Keeps the number of open questions bounded.
pub(crate) fn gate() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

/// Time for the response to a message.
pub(crate) fn response_time(shared: &Shared, device: &str) -> Duration {
    let plain = Duration::from_secs(5);
    if shared.config.satellite(device) { plain * 3 } else { plain }
}

/// Time for a business answer.
fn answer_time(shared: &Shared, device: &str) -> Duration {
    let plain = seconds(shared.config.control.answer);
    if shared.config.satellite(device) { plain * 3 } else { plain }
}

fn known(shared: &Shared, object: &Object) -> Result<Option<Channel>, Fault> {
    match object {
        Object::Device(id) if shared.ctx.registry.get(id).is_some() => Ok(None),
        Object::Device(id) => Err(faults::unknown_channel(&id.0)),
        Object::Channel(id) => match shared.ctx.registry.channel(id) {
            Some((_, channel)) => Ok(Some(channel)),
            None => Err(faults::unknown_channel(&id.0)),
        },
    }
}

/// Sends a PTZCmd; nothing is waited for but the response.
pub(crate) async fn ptz(shared: &Shared, channel: &ChannelId, command: PtzCommand) -> Result<(), Fault> {
    let (device, name) = (channel.device(), channel.name().to_owned());
    let (sn, hex) = (shared.next_sn(), command.hex());
    shared.metrics.ptz.inc();
    let within = response_time(shared, device.name());
    let inner = format!("<PTZCmd>{hex}</PTZCmd>\r\n{}", priority(shared, device.name()));
    let written = |charset| manscdp::ordered(charset, "DeviceControl", sn, &name, &inner);
    shared.message(device.name(), written, within).await
}

/// What some platforms want with each PTZ order (quirk `control_priority`).
fn priority(shared: &Shared, device: &str) -> &'static str {
    if shared.quirk(device, Quirk::ControlPriority) {
        "<Info>\r\n<ControlPriority>5</ControlPriority>\r\n</Info>\r\n"
    } else {
        ""
    }
}

/// Tells a camera to stop. It is said again when the first word failed, and twice in any case where a satellite is between us:
/// a lost stop is a camera that turns on.
pub(crate) async fn stop(shared: &Shared, channel: &ChannelId, motion: Motion) -> Result<(), Fault> {
    let command = match motion {
        Motion::Turn => PtzCommand::STOP,
        Motion::Lens => PtzCommand::LENS_STOP,
    };
    let twice = shared.config.satellite(channel.device().name());
    let first = ptz(shared, channel, command).await;
    if first.is_ok() && !twice {
        return Ok(());
    }
    let second = ptz(shared, channel, command).await;
    if first.is_ok() { Ok(()) } else { second.and(Ok(())).map_err(|fault| first.err().unwrap_or(fault)) }
}

/// Carries out an order.
pub(crate) async fn order(shared: &Arc<Shared>, object: &Object, order: &Order) -> Result<Done, Fault> {
    let channel = known(shared, object)?;
    if order.moves() && !channel.as_ref().is_some_and(|c| c.ptz) {
        return Err(faults::not_supported("云台 / pan and tilt of this channel"));
    }
    let device = object.device();
    let id = device.name();
    let (peer, _) = shared.reach(id)?;
    let session = format!("{:032x}", rand::random::<u128>());
    let outs = orders::write(order, shared.edition(id, &peer), &session).map_err(|NotSent::NeedsEdition(what)| {
        shared.metrics.orders.with_label_values(&["needs_edition"]).inc();
        faults::needs_edition(what)
    })?;
    if let (Order::Lens { .. }, Object::Channel(channel)) = (order, object) {
        return lens(shared, channel, order).await.map(|()| Done::Sent);
    }
    if let (Order::CruiseStop {} | Order::ScanStop {}, Object::Channel(channel)) = (order, object) {
        lock(&shared.holds).stopped(channel, Motion::Turn);
        return stop(shared, channel, Motion::Turn).await.map(|()| Done::Sent);
    }
    let mut done = Done::Sent;
    for mut out in outs {
        if out.inner.starts_with("<PTZCmd>") {
            out.inner += priority(shared, id);
        }
        if out.to_device && shared.quirk(id, Quirk::ConfigUnanswered) {
            // It registers anew in place of an answer: nothing to wait for.
            out.answered = false;
            done = Done::Unknown;
        }
        let about = if out.to_device { id } else { object.name() }.to_owned();
        let written = |charset, sn| manscdp::ordered(charset, out.command, sn, &about, &out.inner);
        if !out.answered {
            let sn = shared.next_sn();
            shared.message(id, |charset| written(charset, sn), response_time(shared, id)).await?;
            continue;
        }
        let Ok(_turn) = shared.questions.try_acquire() else { return Err(faults::too_many_questions(AT_ONCE)) };
        let mut asked = shared.exchange(id, out.command, &about, written, response_time(shared, id)).await?;
        match tokio::time::timeout(answer_time(shared, id), asked.answers.recv()).await {
            Ok(Some(answer)) if answers::refused(&answer.tree) => {
                shared.metrics.orders.with_label_values(&["refused"]).inc();
                return Err(faults::order_refused(order.verb()));
            }
            Ok(Some(_)) if done == Done::Unknown => {}
            Ok(Some(_)) => done = Done::Confirmed,
            // No answer is not a no: the order may well have been carried out.
            Ok(None) | Err(_) => done = Done::Unknown,
        }
    }
    shared.metrics.orders.with_label_values(&[done.as_str()]).inc();
    if let Order::Configure { settings } = order
        && settings.iter().any(|s| matches!(s, Setting::Basic { .. }))
    {
        // Name and keepalive are kept here too: read back what the device made of it.
        refresh::spawn(shared, id);
    }
    Ok(done)
}

async fn lens(shared: &Shared, channel: &ChannelId, order: &Order) -> Result<(), Fault> {
    let Some(command) = orders::ptz_command(order) else { return Err(faults::not_supported("lens")) };
    if command.is_stop() {
        lock(&shared.holds).stopped(channel, Motion::Lens);
        return stop(shared, channel, Motion::Lens).await;
    }
    lock(&shared.holds).moving(channel, Motion::Lens, Instant::now());
    shared.holds_changed.notify_one();
    ptz(shared, channel, command).await
}

/// Asks a question for an operator and gathers its answer.
pub(crate) async fn ask(shared: &Arc<Shared>, object: &Object, query: &Query) -> Result<Answer, Fault> {
    let Ok(_turn) = shared.questions.try_acquire() else { return Err(faults::too_many_questions(AT_ONCE)) };
    gather(shared, object, query).await
}

/// As [`ask`], for the gateway itself, which bounds its questions otherwise.
pub(crate) async fn gather(shared: &Arc<Shared>, object: &Object, query: &Query) -> Result<Answer, Fault> {
    known(shared, object)?;
    let device = object.device();
    let id = device.name();
    let (peer, _) = shared.reach(id)?;
    let edition = shared.edition(id, &peer);
    if answers::is_new(query) && edition != Some(crate::edition::Edition::V2022) {
        return Err(faults::needs_edition(answers::command(query)));
    }
    let wanted = match query {
        Query::Settings { kinds } => {
            answers::kinds(kinds, edition).map_err(|kind| faults::needs_edition(blocks::name(kind)))?
        }
        _ => Vec::new(),
    };
    let (command, inner) = (answers::command(query), answers::inner(query, &wanted));
    let about = object.name().to_owned();
    let written = |charset, sn| manscdp::query_with(charset, command, sn, &about, &inner);
    let mut asked = shared.exchange(id, command, &about, written, response_time(shared, id)).await?;
    let mut collect = Collect::new(query, &wanted);
    let began = tokio::time::Instant::now();
    let last = began + answer_time(shared, id);
    let mut until = last;
    while let Ok(Some(message)) = tokio::time::timeout_at(until, asked.answers.recv()).await {
        if collect.add(&message.tree) {
            break;
        }
        until = last.min(tokio::time::Instant::now() + IDLE);
    }
    let any = collect.any();
    let outcome = if any { "answered" } else { "unanswered" };
    shared.metrics.questions.with_label_values(&[outcome]).inc();
    match collect.finish() {
        Some(answer) => {
            // Of a device that we asked ourselves; a channel's may be that of the camera behind a recorder.
            if let (Answer::Status { clock, .. }, Object::Device(_)) = (&answer, object) {
                facts::clock(shared, id, clock);
            }
            Ok(answer)
        }
        None if any => Err(faults::order_refused(query.verb())),
        None => Err(faults::query_unanswered(command, began.elapsed().as_secs())),
    }
}
