//! Where a phone is: Kamailio as edge proxy (Path), flows of one device, phones behind NAT that go away, STUN, IPv6.

use std::process::{Command, Stdio};
use std::time::Duration;

use skybridge_bridge_phone::Config;

use crate::gateway::Gateway;
use crate::raw::{Raw, answer};
use crate::sipp::{self, Step, once};

const EDGE: &str = r#"
debug=0
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
listen=udp:127.0.0.1:EDGEPORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "path.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("path", "use_received", 1)
request_route {
  if (is_method("REGISTER")) {
    add_path_received();
    $du = "sip:127.0.0.1:GATEWAY";
    t_relay();
    exit;
  }
  loose_route();
  if (is_method("INVITE")) record_route();
  if (src_port != GATEWAY && !has_totag()) $du = "sip:127.0.0.1:GATEWAY";
  t_relay();
}
"#;

struct Edge(std::process::Child, std::path::PathBuf);

impl Drop for Edge {
    fn drop(&mut self) {
        // The first process ends the others.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Kamailio between the phone and the gateway adds a Path; our INVITE goes by it with a Route, and the call stands and ends through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_behind_an_edge_proxy_is_called_by_its_path() {
    if sipp::missing() || Command::new("kamailio").arg("-v").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: no kamailio");
        return;
    }
    use Step::{Ack, Answer, AnswerSdp, Bye, Invite, Ok};
    let gw = Gateway::start(29_800, Config::default()).await;
    let dir = std::env::temp_dir().join(format!("skybridge-edge-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("edge.cfg");
    std::fs::write(&file, EDGE.replace("EDGEPORT", "29860").replace("GATEWAY", "29800")).unwrap();
    let child = Command::new("kamailio")
        .args(["-DD", "-E", "-m", "64", "-M", "8", "-f"])
        .arg(&file)
        .args(["-P", dir.join("pid").to_str().unwrap(), "-Y", dir.to_str().unwrap(), "-w", dir.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("log")).unwrap())
        .spawn()
        .unwrap();
    let edge = Edge(child, dir);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // SIPp's next hop is the proxy.
    let phone = sipp::Sipp::phone(
        "8003",
        29_870,
        29_860,
        &[Invite, Answer("180 Ringing"), AnswerSdp("200 OK", "8"), Ack, Bye, Ok],
    );
    gw.wait_online("8003", true).await;
    let device = gw.ctx.registry.get(&bridge_core::DeviceId::new("phone", "8003")).unwrap();
    println!("{}", device.private);
    assert!(device.private[0]["path"][0].as_str().unwrap().contains("127.0.0.1:29860"), "{}", device.private);
    let a = Raw::start("8001", 29_812, gw.port).await;
    assert_eq!(a.register("secret1", 300).await.code, 200);
    let mut call = a.invite("8003", &a.offer("8", "sendrecv"), &[], None).await;
    assert_eq!(answer(&mut call).await.unwrap().code, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.bye();
    phone.done().await;
    // Who comes by the same proxy and says another's name is asked for his password.
    let options = "<scenario name=\"x\"><send><![CDATA[\nINVITE sip:8001@127.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n\
        From: <sip:8003@127.0.0.1>;tag=1\nTo: <sip:8001@127.0.0.1>\nCall-ID: [call_id]\nCSeq: 1 INVITE\nContact: <sip:x@[local_ip]:[local_port]>\n\
        Max-Forwards: 70\nContent-Length: 0\n\n]]></send><recv response=\"100\" optional=\"true\"/><recv response=\"401\"/></scenario>";
    assert!(once("127.0.0.1", 29_880, 29_860, options, 1).await, "a stranger behind the proxy passes for 8003");
    drop(edge);
    gw.stop().await;
}

/// A phone behind NAT (its contact is another address than its messages') is asked whether it is there; when it is gone it is shown
/// so, and when it answers again it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_behind_nat_that_is_gone_is_shown_so() {
    if sipp::missing() {
        return;
    }
    let gw = Gateway::start(29_900, Config { ping_interval: 1, ..Config::default() }).await;
    let register = sipp::REGISTER
        .replace("USER", "8003")
        .replace("PASSWORD", "secret3")
        .replace("Contact: <sip:8003@[local_ip]:[local_port]>", "Contact: <sip:8003@10.1.1.1:5060>");
    assert!(once("127.0.0.1", 29_910, gw.port, &register, 1).await);
    gw.wait_online("8003", true).await;
    // An OPTIONS comes and is answered, again and again.
    let answers = "<scenario name=\"o\"><recv request=\"OPTIONS\"/><send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n\
        [last_To:];tag=1\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send></scenario>";
    assert!(sipp::serve("127.0.0.1", 29_910, gw.port, answers, 4).await, "no OPTIONS");
    assert!(gw.online("8003"));
    // Nobody is at that port now.
    let end = std::time::Instant::now() + Duration::from_secs(40);
    while gw.online("8003") {
        assert!(std::time::Instant::now() < end, "still shown as there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let device = gw.ctx.registry.get(&bridge_core::DeviceId::new("phone", "8003")).unwrap();
    assert!(device.offline_reason.as_ref().unwrap().en.contains("no longer answers"));
    assert_eq!(device.private[0]["reachable"], false);
    assert!(sipp::serve("127.0.0.1", 29_910, gw.port, answers, 2).await);
    gw.wait_online("8003", true).await;
    gw.stop().await;
}

/// STUN on the SIP port tells a phone its address behind NAT, by a program that is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn stun_on_the_sip_port() {
    let gw = Gateway::start(28_950, Config::default()).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:28955").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    request.extend(1..=12u8);
    socket.send_to(&request, ("127.0.0.1", gw.port)).unwrap();
    let mut answer = [0; 100];
    let n = socket.recv(&mut answer).unwrap();
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    assert_eq!((n, &answer[..2], &answer[8..20], port), (32, &[1u8, 1][..], &request[8..20], 28_955));
    gw.stop().await;
}
