//! Entry point for the fuzzers: bytes of a stranger go in, nothing may panic or grow without bound.

use std::time::{Duration, Instant};

use bridge_core::FloorNotice;
use media_core::mcptt::Message;
use media_core::rtp::RtpPacket;

use crate::carrier::{self, Input, Press};
use crate::config::{CarrierKind, GatewayConfig, Group, InfoForm, TextConfig};
use crate::text::Reader;

const CARRIERS: [CarrierKind; 6] =
    [CarrierKind::Info, CarrierKind::Dtmf, CarrierKind::Ed137, CarrierKind::Rtp, CarrierKind::Mcptt, CarrierKind::Vox];

/// Bodies of INFO and MESSAGE through the patterns; the same bytes as INFO, digits, RTP and floor messages through each carrier, between
/// presses, releases and answers of the hall. What is shown of a stranger is short and has no control characters.
pub fn radio(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let reader = Reader::new(&TextConfig::default());
    if let Some(who) = reader.who(&text) {
        assert!(who.id.chars().count() <= 64 && who.name.chars().count() <= 64);
        assert!(!who.id.chars().chain(who.name.chars()).any(char::is_control));
    }
    if let Some(place) = reader.place(&text) {
        assert!(place.longitude.abs() <= 180.0 && place.latitude.abs() <= 90.0);
    }
    let _ = reader.status(true, &text).map(|s| assert!(s.chars().count() <= 500));
    let start = Instant::now();
    for kind in CARRIERS {
        for form in [InfoForm::Signal, InfoForm::Xml] {
            let mut gateway = GatewayConfig { carrier: kind, ..GatewayConfig::default() };
            gateway.info.form = form;
            gateway.mcptt.server = form == InfoForm::Xml;
            let mut carrier = carrier::open(&gateway, &Group::default(), 1, "sip:a@b");
            let mut now = start;
            for chunk in data.chunks(200).take(32) {
                now += Duration::from_millis(u64::from(chunk.first().copied().unwrap_or(0)) * 10);
                match chunk.len() % 3 {
                    0 => carrier.press(&Press { user: text.chars().take(9).collect(), ..Press::default() }, now),
                    1 => carrier.release(now),
                    _ => carrier.answer(&FloorNotice::Denied { cause: 1 }, now),
                }
                carrier.input(Input::Info(chunk), now);
                carrier.input(Input::InfoAnswered(chunk.len() > 100), now);
                carrier.input(Input::Digit(char::from(chunk.first().copied().unwrap_or(b'*'))), now);
                if let Ok(packet) = RtpPacket::parse(chunk) {
                    let sound = !packet.payload.is_empty();
                    carrier.input(Input::Rtp { extension: packet.extension, sound, loud: sound }, now);
                }
                for message in Message::parse_all(chunk).unwrap_or_default() {
                    carrier.input(Input::Floor(&message), now);
                }
                carrier.tick(now);
                let told = std::iter::from_fn(|| carrier.poll()).count();
                assert!(told <= 64, "what waits is bounded");
            }
        }
    }
}
