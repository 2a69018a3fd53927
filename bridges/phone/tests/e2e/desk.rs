//! The duty desk's queue: what callers hear while they wait, who is asked in which order, and where they go in the end.

use std::time::Duration;

use bridge_core::{AgentState, CallState, QueueMember, QueueOrder, QueueRule};
use media_core::g711;
use sip::{EndReason, Headers};
use skybridge_bridge_phone::{Config, Language};

use crate::b2b::{live, pause, record, sdp_of};
use crate::gateway::{Gateway, QUEUES};
use crate::raw::{Raw, answer, end, media_of};
use crate::signal::{level, peak_level};

fn samples(heard: &[(u16, u32, u8, Vec<u8>)]) -> Vec<f32> {
    let bytes = heard.iter().filter(|(_, _, pt, _)| *pt == 8).flat_map(|(_, _, _, payload)| payload);
    bytes.map(|b| f32::from(g711::alaw_decode(*b)) / 32768.0).collect()
}

fn rule(number: &str, members: &[&str], order: QueueOrder) -> QueueRule {
    QueueRule {
        number: number.into(),
        name: "值班台".into(),
        members: members.iter().map(|m| QueueMember { phone: (*m).into(), signed_in: true }).collect(),
        order,
        most_waiting: 2,
        longest_wait_s: 60,
        overflow: None,
        ring_time_s: 3,
        wrap_up_s: 0,
        announce_every_s: 0,
    }
}

fn queue(gw: &Gateway) -> bridge_core::QueueView {
    gw.bridge.queues().into_iter().find(|q| q.rule.number == "500").unwrap()
}

/// The first caller is asked for at once, hears words and then the ring-back tone, and is joined with the agent who answers. The
/// second one waits for that agent; the third is turned away.
#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_an_agent() {
    QUEUES.lock().unwrap().push(rule("500", &["8106"], QueueOrder::Turn));
    let config = Config { prompts: vec![Language::En], ..Config::default() };
    let gw = Gateway::start(28_800, config).await;
    let mut records = gw.records();
    let mut a = Raw::start("8001", 28_810, gw.port).await;
    let b = Raw::start("8003", 28_812, gw.port).await;
    let c = Raw::start("8004", 28_814, gw.port).await;
    let mut agent = Raw::start("8106", 28_816, gw.port).await;
    for (phone, password) in [(&a, "secret1"), (&b, "secret3"), (&c, "secret4"), (&agent, "secret6")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut first = a.invite("500", &a.offer("18 8 96", "sendrecv"), &[], None).await;
    let ok = answer(&mut first).await.unwrap();
    let mut second = b.invite("500", &b.offer("8", "sendrecv"), &[], None).await;
    answer(&mut second).await.unwrap();
    let mut third = c.invite("500", &c.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut third).await.unwrap_err().code, 486);
    assert_eq!(record(&mut records).await.code, "queue_full");
    let (mut called, invite) = agent.called().await;
    called.ring(180, None);
    assert_eq!(invite.from().unwrap().uri.user(), "8001", "the first goes first");
    let view = queue(&gw);
    assert_eq!(view.waiting.iter().map(|w| w.caller.number.as_str()).collect::<Vec<_>>(), ["8001", "8003"]);
    assert_eq!(view.agents, [("8106".to_owned(), AgentState::Ringing)]);
    // He lets it ring: cancelled, and asked again after his pause.
    assert!(matches!(end(&mut called, 6).await, EndReason::Cancelled));
    let heard = a.hear(Duration::from_secs(2)).await;
    let all = samples(&heard);
    assert!(heard.windows(2).all(|w| w[1].0 == w[0].0.wrapping_add(1)), "no packet is missing");
    let words = &all[..16_000];
    let loud = (words.iter().map(|s| s * s).sum::<f32>() / words.len() as f32).sqrt();
    println!("words {loud:.3}, their 450 Hz {:.3}, ring-back {:.3}", level(words, 450.0), peak_level(&all, 450.0));
    assert!(loud > 0.02 && level(words, 450.0) < loud / 3.0, "no words first");
    assert!(peak_level(&all, 450.0) > 0.1, "no ring-back tone after them");
    let (mut called, invite) = tokio::time::timeout(Duration::from_secs(9), async {
        loop {
            if let Ok(sip::Incoming::Invite { call, request, .. }) = agent.incoming.recv().await.ok_or(()) {
                break (call, request);
            }
        }
    })
    .await
    .unwrap();
    called.accept("application/sdp", agent.offer("8 96", "sendrecv"), Headers::new());
    live(&gw, CallState::Talking).await;
    let (to_a, to_agent) = (media_of(&ok), sdp_of(&invite.body));
    let _ = a.hear(Duration::from_millis(100)).await;
    for _ in 0..75 {
        a.talk(to_a, 440.0).await;
        agent.talk(to_agent, 700.0).await;
        pause(0.02).await;
    }
    let (hears_a, hears_agent) =
        (samples(&a.hear(Duration::from_millis(300)).await), samples(&agent.hear(Duration::from_millis(300)).await));
    let tone = |all: &[f32], hz| level(&all[all.len() - 8000..], hz);
    println!(
        "the caller hears the agent {:.3}, the agent the caller {:.3}",
        tone(&hears_a, 700.0),
        tone(&hears_agent, 440.0)
    );
    assert!(tone(&hears_a, 700.0) > 0.15 && tone(&hears_agent, 440.0) > 0.15);
    assert!(tone(&hears_a, 450.0) < 0.02, "the ring-back tone has ended");
    assert_eq!(queue(&gw).agents[0].1, AgentState::Busy);
    first.bye();
    assert!(matches!(end(&mut called, 5).await, EndReason::Bye(_)));
    let done = record(&mut records).await;
    assert_eq!((done.call.queue.as_deref(), done.call.callee.number.as_str()), (Some("500"), "8106"));
    assert!(done.call.answered.unwrap().0 - done.call.began.0 > 3000, "the time in the queue is not the agent's");
    // Now the second one's turn.
    let (called, invite) = agent.called().await;
    assert_eq!(invite.from().unwrap().uri.user(), "8003");
    second.bye();
    drop(called);
    let gone = record(&mut records).await;
    assert_eq!((gone.code.as_str(), gone.call.answered), ("cancelled", None));
    let ports = gw.ctx.ports.clone();
    gw.stop().await;
    assert_eq!(ports.stats().used, 0, "a port was kept");
}

/// All agents ring at once and the losers are told; nobody in time: the overflow number; then he is sent away.
#[tokio::test(flavor = "multi_thread")]
async fn all_ring_and_the_wait_has_an_end() {
    QUEUES.lock().unwrap().push(rule("501", &["8107", "8108"], QueueOrder::All));
    let mut late = rule("502", &["8109"], QueueOrder::Idle);
    (late.longest_wait_s, late.overflow) = (2, Some("8107".into()));
    QUEUES.lock().unwrap().push(late);
    let gw = Gateway::start(28_900, Config { ring_timeout: 2, ..Config::default() }).await;
    let mut records = gw.records();
    let a = Raw::start("8001", 28_910, gw.port).await;
    let (mut one, mut two) = (Raw::start("8107", 28_912, gw.port).await, Raw::start("8108", 28_914, gw.port).await);
    for (phone, password) in [(&a, "secret1"), (&one, "secret7"), (&two, "secret8")] {
        assert_eq!(phone.register(password, 300).await.code, 200);
    }
    let mut call = a.invite("501", &a.offer("8", "sendrecv"), &[], None).await;
    answer(&mut call).await.unwrap();
    let ((mut loser, _), (winner, _)) = tokio::join!(one.called(), two.called());
    loser.ring(180, None);
    winner.accept("application/sdp", two.offer("8", "sendrecv"), Headers::new());
    assert!(matches!(end(&mut loser, 5).await, EndReason::Cancelled));
    live(&gw, CallState::Talking).await;
    winner.bye();
    assert!(matches!(end(&mut call, 5).await, EndReason::Bye(_)));
    assert_eq!(record(&mut records).await.call.callee.number, "8108");
    // Its only agent is not there; the overflow phone rings and does not answer either.
    let mut call = a.invite("502", &a.offer("8", "sendrecv"), &[], None).await;
    answer(&mut call).await.unwrap();
    let (mut overflow, _) = one.called().await;
    assert!(matches!(end(&mut overflow, 6).await, EndReason::Cancelled));
    assert!(matches!(end(&mut call, 6).await, EndReason::Bye(_)));
    assert_eq!(record(&mut records).await.code, "queue_timeout");
    gw.stop().await;
}
