//! Phones that do not understand each other as they are: codecs and keys that are turned.

use std::time::Duration;

use bridge_core::{CallEndedBy, CallState};
use media_core::sdp::Sdp;
use sip::{CallEvent, Headers, Method};
use skybridge_bridge_phone::Config;

use crate::b2b::{live, pause, record, request, sdp_of};
use crate::baresip::{Account, Baresip};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, media_of};
use crate::signal::level_at;

/// What is heard of a tone: its amplitude, its share in all the power, and the highest level of others.
fn judge(heard: &[f32], rate: f32, tone: f32) -> (f32, f32, f32) {
    let tail = &heard[heard.len().saturating_sub((rate * 1.5) as usize)..];
    let power = tail.iter().map(|s| s * s).sum::<f32>() / tail.len().max(1) as f32;
    let l = level_at(tail, tone, rate);
    let others = [300.0, 580.0, 850.0, 1150.0, 1500.0, 2000.0, 2600.0];
    let beside = others.iter().map(|hz| level_at(tail, *hz, rate)).fold(0.0, f32::max);
    (l, l * l / 2.0 / power.max(1e-12), beside)
}

/// baresip to baresip, each with one codec that the other does not know.
#[tokio::test(flavor = "multi_thread")]
async fn phones_without_a_common_codec_hear_each_other() {
    if crate::baresip::missing() {
        return;
    }
    let pairs = [("PCMA/8000/1", "G722/16000/1"), ("G722/16000/1", "opus/48000/2"), ("opus/48000/2", "PCMU/8000/1")];
    for (n, (one, other)) in pairs.into_iter().enumerate() {
        let base = 38_000 + n as u16 * 100;
        let gw = Gateway::start(base, Config::default()).await;
        let mut records = gw.records();
        let phone = |user, password, codec, tone, port| Account {
            user,
            password,
            gateway: base,
            codec,
            tone,
            port,
            extra: ";answermode=auto",
        };
        let mut a = Baresip::start(phone("8001", "secret1", one, 440.0, base + 10));
        let mut b = Baresip::start(phone("8002", "secret2", other, 1000.0, base + 40));
        gw.wait_online("8001", true).await;
        gw.wait_online("8002", true).await;
        a.dial("8002", gw.port);
        live(&gw, CallState::Talking).await;
        pause(5.0).await;
        for (who, phone, own, tone) in [("A", &a, 440.0, 1000.0), ("B", &b, 1000.0, 440.0)] {
            let (heard, rate) = phone.heard();
            let (l, pure, beside) = judge(&heard, rate, tone);
            let echo = level_at(&heard[heard.len().saturating_sub((rate * 1.5) as usize)..], own, rate);
            println!(
                "{one} - {other}: {who} hears {tone} Hz at {l:.3}, {:.1} % of all; beside it {beside:.4}, itself {echo:.4}",
                pure * 100.0
            );
            assert!(l > 0.15 && pure > 0.9, "{who}: {l} {pure} of {} samples", heard.len());
            assert!(beside < l / 20.0 && echo < l / 20.0, "{who}: {beside} {echo}");
        }
        a.command("hangup", "");
        let record = record(&mut records).await;
        assert_eq!((record.by, record.code.as_str()), (CallEndedBy::Caller, "ended"));
        for (leg, name) in record.call.legs.iter().zip([one, other]) {
            println!("{leg:?}");
            assert!(name.starts_with(&leg.codec), "{leg:?}");
            assert!(leg.packets > 200 && leg.sent > 180 && leg.lost < 5, "{leg:?}");
        }
        a.quit();
        b.quit();
        gw.stop().await;
    }
}
