//! A gateway calls for one of its groups: the call joins the conference that the configuration names.

use std::sync::Arc;

use bridge_core::{Fault, Link, Seat};
use sip::{Call, Flow, Headers, Request};

use crate::bridge::Shared;
use crate::config::{CarrierKind, Group};
use crate::faults::Reason;
use crate::gateway::{Gateway, Taken};
use crate::leg::Leg;
use crate::outbound::{open_leg, refused};
use crate::session::Session;

/// Serves one INVITE until its call has ended.
pub(crate) async fn serve(shared: Arc<Shared>, call: Call, flow: Flow, request: Request) {
    let Some(gateway) = shared.sender(&flow, &request) else {
        return call.reject(404, "");
    };
    // Dialled by the group's number, or from it.
    let ends = [Some(request.uri.user().to_owned()), request.from().map(|a| a.uri.user().to_owned())];
    let group = ends.iter().flatten().find_map(|user| gateway.config.group(user)).cloned();
    let Some(group) = group else {
        return refuse(&shared, &gateway, &call, &request, &Reason::UnknownGroup.fault(), 404);
    };
    match admit(&shared, &gateway, &group, &request).await {
        Ok((leg, body, seat, taken)) => {
            call.accept("application/sdp", body, Headers::new());
            let end = Session::new(shared.clone(), gateway.clone(), group.clone(), call, leg, seat).run().await;
            drop(taken);
            end.log(&shared, &gateway, &group);
        }
        Err((fault, code)) => refuse(&shared, &gateway, &call, &request, &fault, code),
    }
}

async fn admit(
    shared: &Shared,
    gateway: &Arc<Gateway>,
    group: &Group,
    request: &Request,
) -> Result<(Leg, String, Seat, Taken), (Fault, u16)> {
    let no = |reason: Reason| (reason.fault(), reason.sip_code());
    if group.conference.is_empty() {
        return Err(no(Reason::NoConference));
    }
    let taken = gateway.take(&group.number).ok_or_else(|| no(Reason::GroupTaken))?;
    let mut leg = open_leg(shared, gateway, group).map_err(|fault| (fault, 503))?;
    let body = leg.answer(&request.body).map_err(|error| {
        let reason = refused(&error);
        (reason.with(error), 488)
    })?;
    if gateway.config.carrier == CarrierKind::Mcptt && !leg.has_floor() {
        return Err(no(Reason::NoFloorControl));
    }
    let (id, name) = (gateway.channel(group).0, if group.name.is_empty() { &group.number } else { &group.name });
    let entered = shared.ctx.rooms.enter(&group.conference, None, &id, name, Link::Radio).await;
    let seat = entered.map_err(|fault| (fault, 403))?;
    Ok((leg, body, seat, taken))
}

fn refuse(shared: &Shared, gateway: &Gateway, call: &Call, request: &Request, fault: &Fault, code: u16) {
    tracing::info!(gateway = gateway.config.name, code, reason = fault.code, "a call of a radio gateway is refused");
    shared.ended(gateway, fault.code);
    let reason = format!("SIP;cause={code};text=\"{}\"", fault.code);
    call.reject_with(request.respond(code).with("Reason", reason));
}
