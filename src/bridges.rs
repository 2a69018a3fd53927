//! The list of bridges. A new one is a crate, a dependency line and a line here.

use std::sync::Arc;

use bridge_core::{Bridge, BridgeContext};

use crate::settings::{Settings, secret};

/// How SIP requests find their bridge: each claims in the order of this list.
pub struct Claims {
    gb28181: tokio::sync::mpsc::Receiver<sip::Incoming>,
    radio: tokio::sync::mpsc::Receiver<sip::Incoming>,
    phone: tokio::sync::mpsc::Receiver<sip::Incoming>,
}

/// Tells the SIP service which requests belong to whom. Must happen before it runs.
pub fn claim(service: &mut sip::Service, settings: &Settings) -> Claims {
    Claims {
        gb28181: service.claim("gb28181", bridge_gb28181::claims(&settings.gb28181)),
        // Before phones: a gateway is known by its address.
        radio: service.claim("radio", bridge_radio::claims(&settings.radio)),
        phone: service.claim("phone", bridge_phone::claims(&settings.phone)),
    }
}

/// Builds all bridges. Fails only if two of them register a metric under one name.
pub fn build(
    context: &BridgeContext,
    claims: Claims,
    settings: &Settings,
) -> Result<Vec<Arc<dyn Bridge>>, prometheus::Error> {
    let mut gb28181 = settings.gb28181.clone();
    gb28181.site_password = gb28181.site_password.as_deref().and_then(secret);
    let mut phone = settings.phone.clone();
    for trunk in &mut phone.trunk {
        trunk.password = secret(&trunk.password).unwrap_or_default();
    }
    let mut radio = settings.radio.clone();
    for gateway in &mut radio.gateway {
        gateway.password = secret(&gateway.password).unwrap_or_default();
    }
    Ok(vec![
        bridge_gb28181::Gb28181::build(context.clone(), claims.gb28181, gb28181)?,
        bridge_phone::Phone::build(context.clone(), claims.phone, phone),
        bridge_radio::Radio::build(context.clone(), claims.radio, &radio),
        bridge_satphone::Satphone::build(context.clone(), &settings.satphone),
    ])
}
