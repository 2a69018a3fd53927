//! Broadcast: the device is told to call us, and does (reference section 14.1).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::ChannelId;
use media_hub::{Fault, Publisher};
use sip::{Call, CallEvent, EndReason, Headers, Target};
use tokio::time::Instant;

use super::config::Rules;
use super::offer::{self, Wish};
use super::session::{End, Link, Watch, declined};
use super::table::{Called, Expecting};
use super::way::{Way, reachable};
use super::{faults, target};
use crate::config::{Quirk, seconds};
use crate::faults as general;
use crate::peer::Stored;
use crate::ready::Ready;
use crate::shared::{Shared, SsrcLease, device_id};
use crate::text::{self, Charset};

/// `Notify` of type Broadcast.
fn notify(charset: Charset, sn: u32, source: &str, target: &str) -> Vec<u8> {
    charset.encode(&format!(
        "<?xml version=\"1.0\" encoding=\"{}\"?>\r\n<Notify>\r\n<CmdType>Broadcast</CmdType>\r\n<SN>{sn}</SN>\r\n\
         <SourceID>{}</SourceID>\r\n<TargetID>{}</TargetID>\r\n</Notify>\r\n",
        charset.prolog(),
        text::escape(source),
        text::escape(target)
    ))
}

/// Who devices are told to call.
pub(super) fn source_id(shared: &Shared) -> &str {
    let own = &shared.config.voice.source_id;
    if own.is_empty() { &shared.config.server_id } else { own }
}

/// Notifies target after target until the device calls, and takes that call.
pub(super) async fn connect(
    shared: &Arc<Shared>,
    channel: &ChannelId,
    watch: &mut Watch,
    _rules: Rules,
) -> Result<Link, End> {
    let device = channel.device();
    let id = device.name();
    let Some(known) = shared.ctx.registry.get(&device) else {
        return Err(general::unknown_channel(&channel.0).into());
    };
    let stored = Stored::read(&known);
    let set = shared.config.device(id).map(|d| d.voice.targets.clone()).unwrap_or_default();
    let remembered = stored.speakers.get(channel.name()).map(String::as_str);
    let targets = target::targets(&known, channel.name(), remembered, &set);
    let mut ids = targets.clone();
    ids.push(channel.name().to_owned());
    let mut expecting = shared.voice.expect(id, ids);
    let mut worst: Option<Fault> = None;
    for one in &targets {
        match watch.during(ask(shared, id, one, &mut expecting, &targets)).await? {
            Ok(called) => {
                let link = watch.during(answer(shared, channel, called)).await??;
                if remembered != Some(one.as_str()) {
                    remember(shared, channel, one);
                }
                return Ok(link);
            }
            // It has taken the broadcast: another target would be a second one.
            Err(fault) if fault.code == "talk_not_called" => return Err(fault.into()),
            Err(fault) => {
                tracing::debug!(channel = %channel, target = one, fault = %fault, "a broadcast target did not work");
                // A device that said no told more than one that was silent.
                if worst.as_ref().is_none_or(|w| w.code != "talk_refused") {
                    worst = Some(fault);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| general::unknown_channel(&channel.0)).into())
}

/// Keeps the target that worked, so that the next talk begins at once.
fn remember(shared: &Shared, channel: &ChannelId, target: &str) {
    const MOST: usize = 256;
    let (name, target) = (channel.name().to_owned(), target.to_owned());
    shared.ctx.registry.change(&device_id(channel.device().name()), |d| {
        let mut stored = Stored::read(d);
        if stored.speakers.len() < MOST || stored.speakers.contains_key(&name) {
            stored.speakers.insert(name, target);
            d.private = stored.write();
        }
    });
}

/// Sends one broadcast and waits for the call. Devices that call without a business answer, or before it, are taken too.
async fn ask(
    shared: &Arc<Shared>,
    id: &str,
    target: &str,
    expecting: &mut Expecting,
    targets: &[String],
) -> Result<Box<Called>, Fault> {
    let limits = &shared.config.voice;
    let (sn, mut asked) = shared.expect_answers(id, "Broadcast", target);
    let source = source_id(shared);
    let within = Duration::from_secs(5);
    shared.message(id, |charset| notify(charset, sn, source, target), within).await?;
    let mut until = Instant::now() + seconds(limits.response);
    let mut accepted = false;
    loop {
        tokio::select! {
            called = expecting.next() => return Ok(called),
            answer = asked.answers.recv(), if !accepted => {
                let Some(answer) = answer else { return Err(faults::talk_not_answered(limits.response, target)) };
                let result = answer.tree.get("Result").unwrap_or("OK");
                if result.eq_ignore_ascii_case("ERROR") {
                    return Err(faults::talk_refused(&targets.join(" ")));
                }
                accepted = true;
                until = Instant::now() + seconds(limits.invite);
            }
            () = tokio::time::sleep_until(until) => {
                return Err(if accepted {
                    faults::talk_not_called(limits.invite)
                } else {
                    faults::talk_not_answered(limits.response, &targets.join(" "))
                });
            }
        }
    }
}

/// Where the device shall send to or connect to.
pub(super) fn media_address(shared: &Shared, device: &str, target: &Target) -> IpAddr {
    let own = shared.config.device(device).and_then(|d| d.media_address);
    let set = own.or(shared.config.media.address).or(shared.ctx.media_address);
    set.unwrap_or_else(|| shared.ctx.sip.local_address(target).ip())
}

/// Answers the device's INVITE and waits until it has confirmed and connected.
async fn answer(shared: &Arc<Shared>, channel: &ChannelId, called: Box<Called>) -> Result<Link, End> {
    let Called { call, flow, request } = *called;
    let device = channel.device();
    let wish = match offer::read(&request.body, shared.quirk(device.name(), Quirk::TalkPs)) {
        Ok(wish) => wish,
        Err(why) => {
            call.reject(488, "");
            return Err(faults::talk_offer_refused(&why).into());
        }
    };
    let prepared = prepare(shared, &wish);
    let (ready, lease) = match prepared {
        Ok(both) => both,
        Err(fault) => {
            call.reject(503, "");
            return Err(fault.into());
        }
    };
    let address = media_address(shared, device.name(), &Target::Flow(flow.id));
    // In a broadcast we are the sender, so the SSRC is ours; but a device that names one expects it.
    let ssrc = wish.ssrc.unwrap_or(lease.ssrc);
    let body = offer::answer(source_id(shared), address, ready.port(), &wish, ssrc);
    call.accept("application/sdp", body.into_bytes(), Headers::new());
    let source = flow.peer.ip();
    let host = if reachable(wish.address.ip(), source) { wish.address.ip() } else { source };
    let to = (host, wish.address.port()).into();
    let mut call = call;
    let way = confirmed(shared, &mut call, ready, to, vec![host, source]).await?;
    let words = format!("{} over {}", wish.wrap.words(), way.words());
    let returned: Option<Publisher> = None;
    Ok(Link {
        call,
        way,
        wrap: wish.wrap,
        payload_type: wish.payload_type,
        ssrc: ssrc.0,
        _lease: lease,
        returned,
        words,
    })
}

fn prepare(shared: &Arc<Shared>, wish: &Wish) -> Result<(Ready, SsrcLease), Fault> {
    let lease = shared.lease_ssrc().ok_or_else(|| general::too_many_sessions(10_000))?;
    Ok((Ready::open(&shared.ctx.ports, wish.transport)?, lease))
}

/// Waits for the ACK and for the media connection, in any order: Dahua connects before its ACK.
async fn confirmed(
    shared: &Arc<Shared>,
    call: &mut Call,
    ready: Ready,
    to: std::net::SocketAddr,
    hosts: Vec<IpAddr>,
) -> Result<Way, End> {
    let (ack, within) = (shared.config.voice.ack, shared.config.media.tcp_connect);
    let until = Instant::now() + seconds(ack);
    if let Ready::Listen(..) = ready {
        let connecting = Way::connect(ready, to, hosts, ack + within);
        tokio::pin!(connecting);
        let mut way = None;
        let mut acked = false;
        let mut until = until;
        loop {
            tokio::select! {
                event = call.next() => if confirmation(event, 0)? {
                    acked = true;
                    until = Instant::now() + seconds(within);
                },
                got = &mut connecting, if way.is_none() => way = Some(got?),
                () = tokio::time::sleep_until(until) => {
                    return Err(if acked {
                        general::tcp_not_connected(within, "设备没有连接 / it never came")
                    } else {
                        faults::talk_no_ack(ack)
                    }.into());
                }
            }
            if acked && let Some(way) = way.take() {
                return Ok(way);
            }
        }
    }
    loop {
        tokio::select! {
            event = call.next() => if confirmation(event, 0)? {
                break;
            },
            () = tokio::time::sleep_until(until) => return Err(faults::talk_no_ack(ack).into()),
        }
    }
    let connecting = Way::connect(ready, to, hosts, within);
    tokio::pin!(connecting);
    loop {
        tokio::select! {
            event = call.next() => { confirmation(event, 0)?; }
            way = &mut connecting => return Ok(way?),
        }
    }
}

/// True for the ACK; an error when the call has ended.
fn confirmation(event: Option<CallEvent>, packets: u64) -> Result<bool, End> {
    match event {
        Some(CallEvent::Confirmed(_)) => Ok(true),
        Some(CallEvent::Ended(EndReason::Bye(_) | EndReason::Cancelled)) => {
            Err(faults::talk_ended_by_device(packets).into())
        }
        Some(CallEvent::Ended(why)) => Err(declined(&why).into()),
        Some(_) => Ok(false),
        None => Err(general::signalling_failed("呼叫已不存在 / the call is gone").into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manscdp::{Manscdp, Root};

    #[test]
    fn the_notice_is_read_back() {
        let m = Manscdp::parse(&notify(Charset::Gb18030, 7, "34020000002000000001", "34020000001370000001")).unwrap();
        assert!(m.is(Root::Notify, "Broadcast") && m.sn == 7 && m.device.is_empty());
        assert_eq!(m.tree.get("SourceID"), Some("34020000002000000001"));
        assert_eq!(m.tree.get("TargetID"), Some("34020000001370000001"));
    }
}
