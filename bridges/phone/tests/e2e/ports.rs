//! Ports of calls that have ended: they rest before the next call, and what still comes to them is heard by nobody.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sip::{EndReason, Headers};
use skybridge_bridge_phone::Config;

use crate::b2b::{pause, sdp_of};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer, end, media_of};
use crate::signal::level;

const LATE_TONE: f32 = 700.0;
const OWN_TONE: f32 = 440.0;

/// ffmpeg sends a tone in A-law from this port of its own, whatever becomes of the call.
struct Late(Child);

impl Late {
    fn start(from: u16, to: std::net::SocketAddr) -> Late {
        let child = Command::new("ffmpeg")
            .args([
                "-loglevel",
                "error",
                "-re",
                "-f",
                "lavfi",
                "-i",
                &format!("sine=frequency={LATE_TONE}:sample_rate=8000"),
            ])
            .args(["-af", "volume=12dB", "-c:a", "pcm_alaw", "-ac", "1", "-packetsize", "172", "-f", "rtp"])
            .arg(format!("rtp://{to}?localrtpport={from}&localrtcpport={}", from + 1))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Late(child)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn heard(phone: &Raw) -> Vec<f32> {
    let packets = phone.hear(Duration::from_millis(50)).await;
    let bytes = packets.iter().flat_map(|(_, _, _, payload)| payload);
    bytes.map(|x| f32::from(media_core::g711::alaw_decode(*x)) / 32768.0).collect()
}

/// A phone goes on sending after its call: the ports rest, and the next call on the same port hears its own phones only.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_sender_is_not_heard_in_the_next_call() {
    let gw = Gateway::start(31_800, Config::default()).await;
    let mut phones = Vec::new();
    for (n, user) in ["8001", "8003", "8005", "8007"].into_iter().enumerate() {
        let phone = Raw::start(user, 31_810 + 2 * n as u16, gw.port).await;
        assert_eq!(phone.register(&format!("secret{}", &user[3..]), 300).await.code, 200);
        phones.push(phone);
    }
    let Ok([a, mut b, mut c, mut d]) = <[Raw; 4]>::try_from(phones) else { panic!() };
    // All ports but those of one call are taken.
    let mut others = Vec::new();
    while gw.ctx.ports.stats().used + 2 < gw.ctx.ports.stats().total {
        others.push(gw.ctx.ports.dual().unwrap());
    }
    // The phone's sound is ffmpeg's.
    let own = a.rtp.local_addr().unwrap().port().to_string();
    let offer = a.offer("8", "sendrecv").replace(&format!("m=audio {own} "), "m=audio 31840 ");
    let mut call = a.invite("8003", &offer, &[], None).await;
    let (mut far, _) = b.called().await;
    far.accept("application/sdp", b.offer("8", "sendrecv"), Headers::new());
    let first = media_of(&answer(&mut call).await.unwrap());
    let mut late = Late::start(31_840, first);
    let mut sound = Vec::new();
    for _ in 0..200 {
        sound.extend(heard(&b).await);
        if sound.len() > 12_000 {
            break;
        }
    }
    assert!(level(&sound[sound.len() - 4000..], LATE_TONE) > 0.1, "the tone is not there to begin with");
    call.bye();
    assert!(matches!(end(&mut far, 5).await, EndReason::Bye(_)));
    pause(0.2).await;
    // While they rest nobody gets them.
    let mut early = c.invite("8007", &c.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut early).await.unwrap_err().code, 503);
    // The gateway of these tests lets ports rest for a second.
    pause(1.2).await;
    let mut call = c.invite("8007", &c.offer("8", "sendrecv"), &[], None).await;
    let (mut far, invite) = d.called().await;
    pause(0.5).await;
    far.accept("application/sdp", d.offer("8", "sendrecv"), Headers::new());
    let (to_c, to_d) = (media_of(&answer(&mut call).await.unwrap()), sdp_of(&invite.body));
    assert!([to_c, to_d].contains(&first), "the port is used again: {first}, {to_c}, {to_d}");
    let (mut by_c, mut by_d) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        for _ in 0..3 {
            c.talk(to_c, OWN_TONE).await;
            d.talk(to_d, 1000.0).await;
            pause(0.01).await;
        }
        by_c.extend(heard(&c).await);
        by_d.extend(heard(&d).await);
    }
    println!(
        "the next call: {} and {} samples, own {:.3} {:.3}, late {:.4} {:.4}",
        by_c.len(),
        by_d.len(),
        level(&by_d, OWN_TONE),
        level(&by_c, 1000.0),
        level(&by_c, LATE_TONE),
        level(&by_d, LATE_TONE)
    );
    assert!(late.0.try_wait().unwrap().is_none(), "nobody sent late");
    assert!(level(&by_d, OWN_TONE) > 0.1 && level(&by_c, 1000.0) > 0.1);
    assert!(level(&by_c, LATE_TONE) < 0.002 && level(&by_d, LATE_TONE) < 0.002, "the last call's phone is heard");
    call.bye();
    assert!(matches!(end(&mut far, 5).await, EndReason::Bye(_)));
    drop(others);
    gw.stop().await;
}
