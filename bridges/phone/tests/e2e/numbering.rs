//! Towards a phone there is one stream, whatever its sound comes from: the words of a queue, the agent, a hold, the phone to which he hands
//! the call on. baresip and pjsip are the ears, tshark counts the streams and their holes on the wire.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bridge_core::{CallState, QueueMember, QueueOrder, QueueRule};
use skybridge_bridge_phone::{Config, Language};

use crate::b2b::{live, pause, record};
use crate::baresip::{Account, Baresip};
use crate::gateway::{Gateway, QUEUES};
use crate::pjsip::Pjsip;
use crate::signal::level;

/// What lies on the loopback at some ports, as tshark reads it.
struct Wire {
    child: Child,
    file: PathBuf,
}

/// One stream (SSRC) as `tshark -z rtp,streams` counts it.
#[derive(Debug)]
struct Seen {
    from: u16,
    to: u16,
    packets: u32,
    /// With the share, as in `0 (0.0%)`.
    lost: String,
}

impl Wire {
    async fn open(first: u16, last: u16) -> Wire {
        let file = std::env::temp_dir().join(format!("skybridge-wire-{}-{first}.pcap", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let child = Command::new("dumpcap")
            .args(["-q", "-P", "-i", "lo", "-B", "16", "-f", &format!("udp portrange {first}-{last}"), "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if file.exists() {
                break;
            }
            pause(0.05).await;
        }
        pause(0.3).await;
        Wire { child, file }
    }

    /// The streams of RTP so far.
    async fn read(mut self) -> Vec<Seen> {
        pause(0.5).await;
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let out = Command::new("tshark")
            .args(["-o", "rtp.heuristic_rtp:TRUE", "-q", "-z", "rtp,streams", "-r"])
            .arg(&self.file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        println!("{text}");
        let streams = text.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|w| w.starts_with("0x"))?;
            let lost = at + words.get(at..)?.iter().position(|w| w.ends_with("%)"))?;
            Some(Seen {
                from: words.get(at.checked_sub(3)?)?.parse().ok()?,
                to: words.get(at - 1)?.parse().ok()?,
                packets: words.get(lost - 2)?.parse().ok()?,
                lost: format!("{} {}", words[lost - 1], words[lost]),
            })
        });
        streams.collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

fn hears(phone: &Baresip, who: &str, wanted: f32, not: &[f32]) {
    let heard = phone.sound("dec");
    assert!(heard.len() > 16_000, "{who} heard {} samples", heard.len());
    let tail = &heard[heard.len() - 8_000..];
    let others: Vec<f32> = not.iter().map(|hz| level(tail, *hz)).collect();
    println!("{who} hears {wanted} Hz {:.4}, {not:?} {others:.4?} of {}", level(tail, wanted), heard.len());
    assert!(level(tail, wanted) > 0.15, "{who} does not hear {wanted} Hz");
    assert!(others.iter().all(|o| *o < 0.01), "{who} hears {not:?}");
}

/// Who calls the queue.
enum Caller {
    Pjsip(Pjsip),
    Baresip(Baresip),
}

impl Caller {
    async fn hears(&self, hz: f32, not: &[f32]) {
        match self {
            Caller::Pjsip(phone) => phone.hears(hz, not).await,
            Caller::Baresip(phone) => {
                pause(2.5).await;
                hears(phone, "the caller", hz, not);
            }
        }
    }
}

/// Words of a queue, then the agent, who holds and comes back, and hands the caller on: at each step the caller hears who is there, in one
/// stream without a hole. baresip with these keys calls, else pjsip: baresip records nothing after it was held.
async fn one_stream(port: u16, keys: Option<&str>) {
    if crate::baresip::missing() {
        return;
    }
    let queue = format!("{}", port / 100);
    QUEUES.lock().unwrap().push(QueueRule {
        number: queue.clone(),
        name: "值班台".into(),
        members: vec![QueueMember { phone: "8103".into(), signed_in: true }],
        order: QueueOrder::Turn,
        most_waiting: 2,
        longest_wait_s: 60,
        overflow: None,
        ring_time_s: 20,
        wrap_up_s: 0,
        announce_every_s: 0,
    });
    let gw = Gateway::start(port, Config { prompts: vec![Language::En], ..Config::default() }).await;
    let mut records = gw.records();
    let pool = 10_000 + (port - 22_000);
    let wire = Wire::open(pool, pool + 98).await;
    let extra = format!(";answermode=auto{}", keys.unwrap_or(""));
    let account = |user, password, tone, at: u16, extra| Account {
        user,
        password,
        gateway: port,
        codec: "PCMA",
        tone,
        port: port + at,
        extra,
    };
    let mut third = Baresip::start(account("8002", "secret2", 1100.0, 40, ";answermode=auto"));
    let mut agent = Pjsip::start("8103", &gw, port + 70, "PCMA/8000", 700.0).await;
    let mut caller = match keys {
        Some(_) => Caller::Baresip(Baresip::start(account("8001", "secret1", 440.0, 10, &extra))),
        None => Caller::Pjsip(Pjsip::start("8001", &gw, port + 10, "PCMA/8000", 440.0).await),
    };
    gw.wait_online("8001", true).await;
    gw.wait_online("8002", true).await;
    match &mut caller {
        Caller::Pjsip(phone) => phone.order(&format!("dial {queue}")),
        Caller::Baresip(phone) => phone.dial(&queue, port),
    }
    agent.said("incoming 0").await;
    pause(1.5).await;
    agent.order("answer 0");
    live(&gw, CallState::Talking).await;
    caller.hears(700.0, &[450.0, 440.0]).await;
    agent.hears(440.0, &[700.0]).await;
    if let Caller::Pjsip(_) = &caller {
        agent.order("hold 0");
        agent.said("sound 0 held").await;
        pause(1.0).await;
        agent.order("resume 0");
        agent.hears(440.0, &[700.0]).await;
        caller.hears(700.0, &[440.0]).await;
    }
    agent.order(&format!("xfer 0 sip:8002@127.0.0.1:{port}"));
    agent.said("transfer 0 200 True").await;
    pause(1.0).await;
    caller.hears(1100.0, &[700.0, 440.0]).await;
    hears(&third, "the third phone", 440.0, &[700.0, 1100.0]);
    let streams = wire.read().await;
    let towards = |first: u16, last: u16| -> Vec<&Seen> {
        let ours = streams.iter().filter(|s| (pool..=pool + 98).contains(&s.from));
        ours.filter(|s| (first..=last).contains(&s.to)).collect()
    };
    for (who, towards, least) in [
        ("the caller", towards(port + 14, port + 28), 250),
        ("the agent", towards(port + 70, port + 90), 100),
        ("the third phone", towards(port + 44, port + 58), 100),
    ] {
        println!("{who}: {towards:?}");
        assert_eq!(towards.len(), 1, "{who} was sent several streams");
        assert!(towards[0].packets > least && towards[0].lost.starts_with("0 "), "{who}: {:?}", towards[0]);
    }
    third.command("hangup", "");
    assert_eq!(record(&mut records).await.code, "ended");
    third.quit();
    drop((caller, agent));
    gw.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_phone_hears_is_one_stream() {
    one_stream(30_000, None).await;
}

/// As above under keys: no number is used twice, and the phone's roll-over counter fits.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_protected_phone_hears_is_one_stream() {
    one_stream(22_300, Some(";mediaenc=srtp-mand")).await;
}
