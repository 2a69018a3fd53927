//! The relay on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::net::SocketAddr;

use media_core::rtp::RtpHeader;
use media_net::PortPool;
use tokio::net::UdpSocket;

use super::super::sdp::Described;
use super::*;

fn turning() -> Turning {
    Turning::new(&crate::Config::default())
}

fn packet(number: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let header =
        RtpHeader { marker: false, payload_type: number, sequence, timestamp: u32::from(sequence) * 160, ssrc: 7 };
    let mut out = Vec::new();
    header.write(&mut out, &[payload]);
    out
}

fn described(port: u16, formats: &str, direction: &str) -> End {
    let text = format!("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP {formats}\r\na={direction}\r\n");
    End::of(&Described::read(text.as_bytes()).unwrap())
}

async fn next(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2000];
    let got = tokio::time::timeout(Duration::from_millis(400), socket.recv_from(&mut buffer)).await.ok()?;
    Some(buffer[..got.unwrap().0].to_vec())
}

#[tokio::test]
async fn passes_turns_laws_learns_and_refuses_strangers() {
    let pool = PortPool::new("127.0.0.1".parse().unwrap(), 42_301..=42_320, Duration::from_millis(10));
    let rounds = Rounds::start("test", 1).unwrap();
    let relay = Relay::start(&rounds, [pool.plain().unwrap(), pool.plain().unwrap()], None, turning()).unwrap();
    let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
    let (a, b, stranger) = (socket().await, socket().await, socket().await);
    let to_a = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(0));
    let to_b = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(1));
    // A says another place than it sends from (behind NAT); B has mu-law only.
    let behind_nat = |direction: &str| {
        let text = format!("v=0\r\nc=IN IP4 10.1.1.1\r\nm=audio 9 RTP/AVP 8 101\r\na={direction}\r\n");
        End::of(&Described::read(text.as_bytes()).unwrap())
    };
    // While it rings nobody knows where to send: who sends is a stranger.
    relay.expect(0, behind_nat("sendrecv"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    stranger.send_to(&packet(8, 1, &[1; 160]), to_a).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    relay.describe(0, behind_nat("sendrecv"));
    relay.describe(1, described(b.local_addr().unwrap().port(), "0 101", "sendrecv"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    a.send_to(&packet(8, 1, &[0xD5; 160]), to_a).await.unwrap();
    let heard = next(&b).await.unwrap();
    assert_eq!((heard[1], heard[12], heard.len()), (0, g711::ulaw_encode(g711::alaw_decode(0xD5)), 172));
    // A's address was learned: mu-law comes back as A-law; a stranger and an unknown number do not pass.
    b.send_to(&packet(0, 5, &[0xFF; 160]), to_b).await.unwrap();
    let heard = next(&a).await.unwrap();
    assert_eq!((heard[1], heard[12]), (8, g711::alaw_encode(g711::ulaw_decode(0xFF))));
    stranger.send_to(&packet(8, 2, &[1; 160]), to_a).await.unwrap();
    a.send_to(&packet(77, 2, &[1; 160]), to_a).await.unwrap();
    assert!(next(&b).await.is_none());
    // A codec of both passes as it is.
    relay.describe(1, described(b.local_addr().unwrap().port(), "8 101", "sendrecv"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sent = packet(8, 4, &[0x2A; 160]);
    a.send_to(&sent, to_a).await.unwrap();
    assert_eq!(next(&b).await.unwrap(), sent);
    // On hold nothing is sent to it.
    relay.describe(1, described(b.local_addr().unwrap().port(), "8 101", "sendonly"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    a.send_to(&packet(8, 5, &[0x2A; 160]), to_a).await.unwrap();
    assert!(next(&b).await.is_none());
    let [from_a, from_b] = relay.heard();
    assert_eq!((from_a.packets, from_a.lost, from_a.payload_type), (3, 2, Some(8)));
    assert_eq!((from_b.packets, from_b.sent), (1, 2));
    drop(relay);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(pool.stats().used, 0);
}

#[tokio::test]
async fn a_recorder_gets_what_is_heard_and_in_what_it_knows() {
    let pool = PortPool::new("127.0.0.1".parse().unwrap(), 42_361..=42_380, Duration::from_millis(10));
    let rounds = Rounds::start("test", 1).unwrap();
    let relay = Relay::start(&rounds, [pool.plain().unwrap(), pool.plain().unwrap()], None, turning()).unwrap();
    let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
    let (a, b, stranger, recorder, reports) =
        (socket().await, socket().await, socket().await, socket().await, socket().await);
    let to = |side| SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(side));
    let settle = || tokio::time::sleep(Duration::from_millis(60));
    relay.describe(0, described(a.local_addr().unwrap().port(), "8 18", "sendrecv"));
    relay.describe(1, described(b.local_addr().unwrap().port(), "8 18", "sendrecv"));
    let mut numbers = [None; 128];
    numbers[8] = Some(0);
    let pair = Arc::new(pool.udp().unwrap());
    let (rtp, rtcp) = (recorder.local_addr().unwrap(), reports.local_addr().unwrap());
    let ear = relay.ear();
    ear.copy([Some(Copied { pair: pair.clone(), rtp, rtcp, numbers, guard: None }), None]);
    drop(pair);
    settle().await;
    // A-law is turned for it alone; what it did not take, a stranger's packets and the other phone's do not go there.
    a.send_to(&packet(8, 1, &[0xD5; 160]), to(0)).await.unwrap();
    assert_eq!(next(&b).await.unwrap()[1], 8);
    let copy = next(&recorder).await.unwrap();
    assert_eq!((copy[1], copy[12], copy.len()), (0, g711::ulaw_encode(g711::alaw_decode(0xD5)), 172));
    a.send_to(&packet(18, 2, &[1; 20]), to(0)).await.unwrap();
    assert_eq!(next(&b).await.unwrap()[1], 18);
    stranger.send_to(&packet(8, 3, &[1; 160]), to(0)).await.unwrap();
    b.send_to(&packet(8, 9, &[2; 160]), to(1)).await.unwrap();
    assert_eq!(next(&a).await.unwrap()[12], 2);
    assert!(next(&recorder).await.is_none());
    a.send_to(&[0x80, 200, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], to(0))
        .await
        .unwrap();
    assert_eq!(next(&reports).await.unwrap().len(), 28, "reports go along, to a port of their own");
    // What nobody hears is not recorded.
    relay.describe(1, described(b.local_addr().unwrap().port(), "8 18", "sendonly"));
    settle().await;
    a.send_to(&packet(8, 4, &[1; 160]), to(0)).await.unwrap();
    assert!(next(&recorder).await.is_none());
    assert_eq!(relay.heard().map(|h| h.copied), [1, 0]);
    assert_eq!(pool.stats().used, 3);
    ear.copy([None, None]);
    settle().await;
    assert_eq!(pool.stats().used, 2);
}

#[tokio::test]
async fn the_last_packets_of_a_phone_that_was_replaced_are_not_learned_from() {
    let pool = PortPool::new("127.0.0.1".parse().unwrap(), 42_341..=42_360, Duration::from_millis(10));
    let rounds = Rounds::start("test", 1).unwrap();
    let relay = Relay::start(&rounds, [pool.plain().unwrap(), pool.plain().unwrap()], None, turning()).unwrap();
    let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
    let (a, old, new) = (socket().await, socket().await, socket().await);
    let to = |side| SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(side));
    let behind_nat = |port: u16| {
        let text = format!("v=0\r\nc=IN IP4 10.1.1.1\r\nm=audio {port} RTP/AVP 8\r\na=sendrecv\r\n");
        End::of(&Described::read(text.as_bytes()).unwrap())
    };
    let settle = || tokio::time::sleep(Duration::from_millis(60));
    relay.describe(0, described(a.local_addr().unwrap().port(), "8", "sendrecv"));
    relay.describe(1, behind_nat(9));
    settle().await;
    old.send_to(&packet(8, 1, &[1; 160]), to(1)).await.unwrap();
    assert!(next(&a).await.is_some(), "the first phone is learned");
    // Another phone sits there now; the one before has not heard of it yet.
    relay.describe(1, behind_nat(11));
    settle().await;
    old.send_to(&packet(8, 2, &[2; 160]), to(1)).await.unwrap();
    assert!(next(&a).await.is_none(), "its last packets do not pass");
    new.send_to(&packet(8, 3, &[3; 160]), to(1)).await.unwrap();
    assert!(next(&a).await.is_some(), "the new phone is learned");
    a.send_to(&packet(8, 1, &[4; 160]), to(0)).await.unwrap();
    assert!(next(&new).await.is_some() && next(&old).await.is_none(), "what comes back goes to the new one");
}
