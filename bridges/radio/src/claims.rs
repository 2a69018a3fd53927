//! Which requests of the shared SIP endpoint belong to radio gateways.

use std::net::SocketAddr;

use sip::{Flow, Method, Request};

use crate::config::{Config, GatewayConfig};

/// The gateway that sent a request: by its host, and of several there by its port, or by one of its groups.
pub(crate) fn sender<'a>(
    gateways: impl Iterator<Item = &'a GatewayConfig>,
    peer: SocketAddr,
    request: &Request,
) -> Option<&'a GatewayConfig> {
    let ends = [Some(request.uri.user().to_owned()), request.from().map(|a| a.uri.user().to_owned())];
    let names_group = |g: &GatewayConfig| ends.iter().flatten().any(|user| g.group(user).is_some());
    let here: Vec<_> = gateways.filter_map(|g| Some((g, g.peer()?))).filter(|(_, at)| at.ip() == peer.ip()).collect();
    let exact = here.iter().find(|(_, at)| *at == peer).map(|(g, _)| *g);
    // TCP and some boxes send from another port.
    exact.or_else(|| here.iter().find(|(g, _)| names_group(g)).map(|(g, _)| *g))
}

/// The test for `sip::Service::claim`: what comes from the host of a configured gateway and is of its port or of one of its groups.
/// Radio claims before phones.
pub fn claims(config: &Config) -> impl Fn(&Request, &Flow) -> bool + Send + Sync + 'static {
    let gateways = config.gateway.clone();
    move |request, flow| {
        matches!(request.method, Method::Options | Method::Invite | Method::Message)
            && sender(gateways.iter(), flow.peer, request).is_some()
    }
}
