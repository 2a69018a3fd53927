//! Talk of 2016: we invite the device with `s=Talk`; its microphone comes back on the same session (reference section 14.2).

use std::sync::Arc;

use bridge_core::ChannelId;
use media_core::gb::{GbTransport, Ssrc};
use media_hub::{Fault, StreamId};
use sip::{Call, CallEvent, EndReason, Method, Request, Target};
use tokio::time::Instant;

use super::broadcast::media_address;
use super::config::Rules;
use super::faults;
use super::offer::{self, Wrap};
use super::session::{End, Link, Watch, declined};
use super::way::{Way, reachable};
use crate::config::{MediaTransport, Quirk, seconds};
use crate::faults as general;
use crate::peer::Peer;
use crate::ready::Ready;
use crate::shared::{NAME, Shared, sip_fault};

fn transport(shared: &Shared, device: &str, peer: &Peer) -> (GbTransport, bool) {
    let udp_only = shared.quirk(device, Quirk::TalkUdpOnly).then_some(MediaTransport::Udp);
    let own = shared.config.device(device).and_then(|d| d.voice.transport).or(udp_only);
    let own = own.or(shared.config.device(device).and_then(|d| d.transport));
    let stream = peer.media_tcp.unwrap_or(peer.transport.is_reliable());
    let way = match own.unwrap_or(MediaTransport::AsSignalling) {
        MediaTransport::Udp => GbTransport::Udp,
        MediaTransport::Tcp => GbTransport::TcpPassive,
        MediaTransport::TcpActive => GbTransport::TcpActive,
        MediaTransport::AsSignalling if stream => GbTransport::TcpPassive,
        MediaTransport::AsSignalling => GbTransport::Udp,
    };
    (way, own.is_some_and(|o| o != MediaTransport::AsSignalling))
}

/// Invites the device; a device that refuses one way of media with 488 is asked for the other.
pub(super) async fn connect(
    shared: &Arc<Shared>,
    channel: &ChannelId,
    watch: &mut Watch,
    _rules: Rules,
) -> Result<Link, End> {
    let device = channel.device();
    let (peer, to) = shared.reach(device.name())?;
    let (first, fixed) = transport(shared, device.name(), &peer);
    match watch.during(attempt(shared, channel, &peer, &to, first)).await? {
        Err(End::Failed(fault)) if fault.code == "rejected_not_acceptable" && !fixed => {
            let second = if first == GbTransport::Udp { GbTransport::TcpPassive } else { GbTransport::Udp };
            watch.during(attempt(shared, channel, &peer, &to, second)).await?
        }
        done => done,
    }
}

fn invite(
    shared: &Shared,
    channel: &ChannelId,
    peer: &Peer,
    to: &Target,
    ready: &Ready,
    way: GbTransport,
    ssrc: Ssrc,
) -> Request {
    let device = channel.device();
    let own = shared.config.device(device.name()).and_then(|d| d.voice.targets.first().cloned());
    let name = own.unwrap_or_else(|| channel.name().to_owned());
    let mut invite = shared.request_to(Method::Invite, &name, peer, to);
    let server = &shared.config.server_id;
    invite.headers.set("Subject", format!("{name}:{ssrc},{server}:0"));
    let address = media_address(shared, device.name(), to);
    let sdp = offer::talk(server, address, ready.port(), way, ssrc);
    invite.set_body("application/sdp", sdp.into_bytes());
    invite
}

async fn attempt(
    shared: &Arc<Shared>,
    channel: &ChannelId,
    peer: &Peer,
    to: &Target,
    way: GbTransport,
) -> Result<Link, End> {
    let lease = shared.lease_ssrc().ok_or_else(|| general::too_many_sessions(10_000))?;
    let ready = Ready::open(&shared.ctx.ports, way)?;
    let request = invite(shared, channel, peer, to, &ready, way, lease.ssrc);
    let mut call = shared.ctx.sip.invite(*to, request).await.map_err(|e| sip_fault(&e))?;
    let answer = answered(shared, &mut call).await?;
    let wish = offer::read(&answer.body, false).map_err(|why| faults::talk_offer_refused(&why))?;
    if wish.wrap != Wrap::Pcma {
        return Err(faults::talk_offer_refused("PS").into());
    }
    if (way == GbTransport::Udp) != (wish.transport == GbTransport::Udp) {
        return Err(general::bad_answer("another transport than offered").into());
    }
    let source = peer.source.ip();
    let host = if reachable(wish.address.ip(), source) { wish.address.ip() } else { source };
    let at = (host, wish.address.port()).into();
    let connecting = Way::connect(ready, at, vec![host, source], shared.config.media.tcp_connect);
    tokio::pin!(connecting);
    let way = loop {
        tokio::select! {
            got = &mut connecting => break got?,
            event = call.next() => match event {
                Some(CallEvent::Ended(EndReason::Bye(_))) => return Err(faults::talk_ended_by_device(0).into()),
                Some(CallEvent::Ended(why)) => return Err(declined(&why).into()),
                Some(_) => {}
                None => return Err(general::signalling_failed("呼叫已不存在 / the call is gone").into()),
            },
        }
    };
    let words = format!("PCMA over {}, talk of 2016", way.words());
    // One device, one talk: the name is free unless the last publisher is just letting go.
    let id = StreamId::new(format!("{NAME}:talk/{:016x}", rand::random::<u64>()));
    let returned = shared.ctx.hub.publish(&id, channel.name()).ok();
    let ssrc = wish.ssrc.unwrap_or(lease.ssrc).0;
    Ok(Link { call, way, wrap: Wrap::Pcma, payload_type: wish.payload_type, ssrc, _lease: lease, returned, words })
}

async fn answered(shared: &Shared, call: &mut Call) -> Result<sip::Response, End> {
    let limit = shared.config.media.answer;
    let until = Instant::now() + seconds(limit);
    let fault: Fault = loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {
                call.cancel();
                break general::no_answer(limit);
            }
            event = call.next() => match event {
                Some(CallEvent::Answered(response)) => return Ok(response),
                Some(CallEvent::Ended(EndReason::Timeout)) => break general::no_answer(limit),
                Some(CallEvent::Ended(why)) => break declined(&why),
                Some(_) => {}
                None => break general::signalling_failed("呼叫已不存在 / the call is gone"),
            },
        }
    };
    Err(fault.into())
}
