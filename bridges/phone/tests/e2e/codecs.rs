//! The codecs of a conference leg, each with a program that we did not write.

use std::process::{Command as Program, Stdio};
use std::time::Duration;

use bridge_core::Command;
use skybridge_bridge_phone::Config;

use crate::baresip::{Account, Baresip, missing};
use crate::gateway::Gateway;
use crate::raw::{Raw, answer};
use crate::signal::level_at;

async fn pause(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

/// Amplitude of a tone in the last second and a half, and its share in all the power there.
fn judge(heard: &[f32], rate: f32, tone: f32) -> (f32, f32) {
    let tail = &heard[heard.len().saturating_sub((rate * 1.5) as usize)..];
    let power = tail.iter().map(|s| s * s).sum::<f32>() / tail.len().max(1) as f32;
    let l = level_at(tail, tone, rate);
    (l, l * l / 2.0 / power.max(1e-12))
}

/// baresip with one codec and a browser in a conference hear each other's tone. The tones of wide-band codecs are beyond what a
/// telephone line carries.
#[tokio::test(flavor = "multi_thread")]
async fn a_conference_speaks_the_codec_of_the_phone() {
    if missing() {
        return;
    }
    let codecs = [
        ("G722/16000/1", "G722", 5200.0),
        ("opus/48000/2", "Opus", 5200.0),
        ("AMR-WB/16000/1", "AmrWb", 4700.0),
        ("AMR/8000/1", "Amr", 1100.0),
    ];
    for (n, (codec, ours, wide)) in codecs.into_iter().enumerate() {
        let base = 26_500 + n as u16 * 100;
        let gw = Gateway::start(base, Config::default()).await;
        let mut phone = Baresip::start(Account {
            user: "8001",
            password: "secret1",
            gateway: base,
            codec,
            tone: 440.0,
            port: base + 10,
            extra: "",
        });
        gw.wait_online("8001", true).await;
        phone.dial("700", gw.port);
        gw.rooms.wait(&format!("hears: {ours}"), 5).await;
        let browser = gw.rooms.browser("700", wide);
        pause(2.0).await;
        // A busy machine takes the time of one or the other end: some seconds in a row must be clean.
        let (mut there, mut pure, mut here, mut clean, mut samples) = (0.0, 0.0, 0.0, 0.0, 0);
        for _ in 0..6 {
            let at_browser = gw.rooms.heard_by_browser("700", 2.0).await;
            (there, pure) = judge(&at_browser, 48_000.0, 440.0);
            let (heard, rate) = phone.heard();
            (here, clean) = judge(&heard, rate, wide);
            samples = heard.len();
            if there > 0.12 && pure > 0.85 && here > 0.1 && clean > 0.8 {
                break;
            }
        }
        println!(
            "{codec}: the conference hears 440 Hz at {there:.3} ({:.0} %), the phone {wide} Hz at {here:.3} ({:.0} %)",
            pure * 100.0,
            clean * 100.0
        );
        assert!(there > 0.12 && pure > 0.85, "{codec}: {there} {pure}");
        assert!(here > 0.1 && clean > 0.8, "{codec}: {here} {clean} of {samples} samples\n{}", phone.log());
        browser.abort();
        phone.quit();
        gw.stop().await;
    }
}

/// GStreamer (with the decoder of libavcodec) hears the conference in G.729.
#[tokio::test(flavor = "multi_thread")]
async fn gstreamer_hears_the_conference_in_g729() {
    let there = Program::new("gst-inspect-1.0").arg("avdec_g729").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|s| s.success()) {
        eprintln!("skipped: no gst-launch-1.0 with gstreamer1.0-libav");
        return;
    }
    let gw = Gateway::start(27_000, Config::default()).await;
    let phone = Raw::start("8001", 27_010, gw.port).await;
    assert_eq!(phone.register("secret1", 300).await.code, 200);
    let dir = std::env::temp_dir().join(format!("skybridge-g729-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let wav = dir.join("heard.wav");
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 27020 RTP/AVP 18\r\n\
                a=rtpmap:18 G729/8000\r\n";
    let pipeline = format!(
        "udpsrc address=127.0.0.1 port=27020 num-buffers=200 \
         caps=application/x-rtp,media=audio,payload=18,clock-rate=8000,encoding-name=G729 ! rtpg729depay ! avdec_g729 ! \
         audioconvert ! wavenc ! filesink location={}",
        wav.display()
    );
    let mut ears = Program::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    pause(1.0).await;
    let mut call = phone.invite("700", &format!("{body}a=fmtp:18 annexb=no\r\na=recvonly\r\n"), &[], None).await;
    let ok = answer(&mut call).await.unwrap();
    assert!(String::from_utf8_lossy(&ok.body).contains("a=fmtp:18 annexb=no"), "{:?}", ok.body);
    gw.rooms.wait("hears: G729", 5).await;
    let browser = gw.rooms.browser("700", 700.0);
    for _ in 0..150 {
        if ears.try_wait().unwrap().is_some() {
            break;
        }
        pause(0.1).await;
    }
    let _ = ears.kill();
    let heard = crate::signal::read_wav(&wav);
    let (level, pure) = judge(&heard, 8000.0, 700.0);
    println!("GStreamer hears 700 Hz in G.729 at {level:.3} ({:.0} %)", pure * 100.0);
    assert!(level > 0.12 && pure > 0.8, "{level} {pure} of {} samples", heard.len());
    browser.abort();
    call.bye();
    let _ = std::fs::remove_dir_all(&dir);
    gw.stop().await;
}

/// A phone that knows AMR alone, and that in the framing which our short offers leave out, is called by the hall: its refusal is
/// answered by an offer of both framings.
#[tokio::test(flavor = "multi_thread")]
async fn the_hall_calls_a_phone_of_one_framing_of_amr() {
    if missing() {
        return;
    }
    let gw = Gateway::start(27_200, Config::default()).await;
    let mut phone = Baresip::start(Account {
        user: "8001",
        password: "secret1",
        gateway: 27_200,
        codec: "AMR-WB/16000/1",
        tone: 440.0,
        port: 27_210,
        extra: ";answermode=auto",
    });
    gw.wait_online("8001", true).await;
    gw.bridge.command(Command::Dial { to: "8001".into(), seat: gw.rooms.seat("700") }).await.unwrap();
    gw.rooms.wait("hears: AmrWb", 5).await;
    let browser = gw.rooms.browser("700", 4700.0);
    let (mut level, mut pure) = (0.0, 0.0);
    for _ in 0..6 {
        pause(2.0).await;
        let (heard, rate) = phone.heard();
        (level, pure) = judge(&heard, rate, 4700.0);
        if level > 0.1 && pure > 0.8 {
            break;
        }
    }
    println!("called in AMR-WB, it hears 4700 Hz at {level:.3} ({:.0} %)", pure * 100.0);
    assert!(level > 0.1 && pure > 0.8, "{level} {pure}\n{}", phone.log());
    browser.abort();
    phone.quit();
    gw.stop().await;
}
