//! The hall calls a group.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Fault, Seat, SeatCommand, SeatReport, Text};
use media_core::sdp::SdpError;
use sip::{Call, CallEvent, EndReason, Method, NameAddr};

use crate::bridge::Shared;
use crate::config::{CarrierKind, Group};
use crate::faults::Reason;
use crate::gateway::{Gateway, Taken};
use crate::leg::Leg;
use crate::session::{End, Session};

/// A gateway that has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a description cannot be used.
pub(crate) fn refused(error: &SdpError) -> Reason {
    match error {
        SdpError::NoCodec(_) | SdpError::NoMedia(_) => Reason::NoRadioCodec,
        _ => Reason::GroupRefused,
    }
}

fn media_address(shared: &Shared, gateway: &Gateway) -> IpAddr {
    let own = shared.ctx.sip.local_address(&gateway.target).ip();
    shared.ctx.media_address.filter(|told| told.is_ipv4() == own.is_ipv4()).unwrap_or(own)
}

/// Publishes the group's stream and opens its ports.
pub(crate) fn open_leg(shared: &Shared, gateway: &Gateway, group: &Group) -> Result<Leg, Fault> {
    let port = || shared.ctx.ports.dual().map_err(|error| Reason::NoRadioPort.with(error));
    let pair = port()?;
    let floor = if gateway.config.carrier == CarrierKind::Mcptt { Some(port()?) } else { None };
    let name = if group.name.is_empty() { &group.number } else { &group.name };
    let id = gateway.channel(group).stream();
    let publisher = shared.ctx.hub.publish(&id, name).map_err(|_| Reason::GroupTaken.fault())?;
    Ok(Leg::new(&gateway.config, pair, floor, media_address(shared, gateway), publisher))
}

/// Calls the group and serves the call to its end.
pub(crate) async fn serve(shared: Arc<Shared>, gateway: Arc<Gateway>, group: Group, mut seat: Seat, taken: Taken) {
    let end = match dial(&shared, &gateway, &group, &mut seat).await {
        Ok((call, leg)) => Session::new(shared.clone(), gateway.clone(), group.clone(), call, leg, seat).run().await,
        Err(end) => {
            seat.report(end.report()).await;
            end
        }
    };
    drop(taken);
    end.log(&shared, &gateway, &group);
}

async fn dial(shared: &Shared, gateway: &Gateway, group: &Group, seat: &mut Seat) -> Result<(Call, Leg), End> {
    let mut leg = open_leg(shared, gateway, group).map_err(End::Failed)?;
    let (offer, text) = leg.offer();
    let mut invite = gateway.request(Method::Invite, gateway.uri(&group.number));
    let contact = shared.ctx.sip.local_contact(&gateway.target, gateway.config.user());
    invite.headers.set("Contact", NameAddr::new(contact).to_string());
    invite.headers.set("Allow", crate::bridge::ALLOW);
    if gateway.config.carrier == CarrierKind::Ed137 && !gateway.config.ed137.version.is_empty() {
        invite.headers.set("WG67-Version", &gateway.config.ed137.version);
    }
    invite.set_body("application/sdp", text);
    let credentials = gateway.credentials();
    let call = match credentials {
        Some(credentials) => shared.ctx.sip.invite_as(gateway.target, invite, credentials).await,
        None => shared.ctx.sip.invite(gateway.target, invite).await,
    };
    let mut call = call.map_err(|error| End::Failed(Reason::GatewayDown.with(error)))?;
    let deadline = tokio::time::sleep(PATIENCE);
    tokio::pin!(deadline);
    let mut rang = false;
    loop {
        let event = tokio::select! {
            event = call.next() => event,
            command = seat.command() => match command {
                Some(SeatCommand::Hear(_) | SeatCommand::Floor(_)) => continue,
                Some(SeatCommand::HangUp) => {
                    return Err(End::Left(Text::new("呼叫已取消", "the call was given up")));
                }
                None => return Err(End::Left(Text::new("会议已结束", "the conference ended"))),
            },
            () = &mut deadline => return Err(End::Failed(Reason::GatewayDown.fault())),
            () = shared.ctx.shutdown.cancelled() => return Err(End::Failed(Reason::RadioStopping.fault())),
        };
        match event {
            Some(CallEvent::Progress(_)) => {
                if !std::mem::replace(&mut rang, true) {
                    seat.report(SeatReport::Ringing).await;
                }
            }
            Some(CallEvent::Answered(response)) => {
                if let Err(error) = leg.answered(&offer, &response.body) {
                    return Err(End::Failed(refused(&error).with(error)));
                }
                if gateway.config.carrier == CarrierKind::Mcptt && !leg.has_floor() {
                    return Err(End::Failed(Reason::NoFloorControl.fault()));
                }
                return Ok((call, leg));
            }
            Some(CallEvent::Ended(EndReason::Rejected(response))) => {
                let reason = if response.code == 488 { Reason::NoRadioCodec } else { Reason::GroupRefused };
                return Err(End::Failed(reason.with(format_args!("{} {}", response.code, response.reason))));
            }
            Some(CallEvent::Ended(EndReason::Timeout)) | None => {
                return Err(End::Failed(Reason::GatewayDown.fault()));
            }
            Some(CallEvent::Ended(_)) => return Err(End::Failed(Reason::GroupLost.fault())),
            Some(CallEvent::Request { tx, request }) => call.respond(tx, request.respond(491)),
            Some(CallEvent::Confirmed(_)) => {}
        }
    }
}
