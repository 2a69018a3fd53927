//! SIPp as phones that do exactly one thing: each scenario is written here and SIPp says whether all of it happened.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn missing() -> bool {
    let missing = Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    if missing {
        eprintln!("skipped: no sipp (apt install sip-tester)");
    }
    missing
}

/// One step of a called phone.
#[derive(Clone, Copy)]
pub enum Step {
    Invite,
    /// An answer to the INVITE, without a body.
    Answer(&'static str),
    /// An answer to the INVITE with this SDP's format list.
    AnswerSdp(&'static str, &'static str),
    /// 302 to another user.
    Moved(&'static str),
    Ack,
    Cancel,
    /// CANCEL with the Reason that somebody else has answered (RFC 3326).
    CancelElsewhere,
    /// 200 to the request that came last (CANCEL, BYE).
    Ok,
    Bye,
    /// A key by INFO, and 200 to it.
    Info(&'static str),
    /// A piece of a scenario.
    Xml(&'static str),
    Pause(u32),
}

fn answer(line: &str, extra: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    // CSeq of the INVITE: a CANCEL may have come since.
    format!(
        "<send><![CDATA[\nSIP/2.0 {line}\n[last_Via:]\n[last_From:]\n[last_To:];tag=sipp[pid]x[call_number]\n[last_Call-ID:]\n\
         CSeq: [$1] INVITE\nContact: <sip:[local_ip]:[local_port]>\n{extra}{kind}Content-Length: [len]\n\n{body}]]></send>\n"
    )
}

fn step(step: Step) -> String {
    match step {
        Step::Invite => "<recv request=\"INVITE\"><action><ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"CSeq:\" \
                         assign_to=\"1\"/></action></recv>\n"
            .into(),
        Step::Answer(line) => answer(line, "", ""),
        Step::AnswerSdp(line, formats) => answer(
            line,
            "",
            &format!(
                "v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP {formats}\n"
            ),
        ),
        Step::Moved(user) => answer("302 Moved Temporarily", &format!("Contact: <sip:{user}@127.0.0.1>\n"), "")
            .replacen("Contact: <sip:[local_ip]:[local_port]>\n", "", 1),
        Step::Ack => "<recv request=\"ACK\"/>\n".into(),
        Step::Cancel => "<recv request=\"CANCEL\"/>\n".into(),
        Step::CancelElsewhere => {
            "<recv request=\"CANCEL\"><action><ereg regexp=\"cause=200;text=.Call completed elsewhere\" search_in=\"hdr\" \
             header=\"Reason:\" check_it=\"true\" assign_to=\"2\"/></action></recv><Reference variables=\"2\"/>\n"
                .into()
        }
        Step::Bye => "<recv request=\"BYE\"/>\n".into(),
        Step::Ok => {
            "<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
                     Content-Length: 0\n\n]]></send>\n"
                .into()
        }
        Step::Info(signal) => format!(
            "<recv request=\"INFO\"><action><ereg regexp=\"{signal}\" search_in=\"msg\" check_it=\"true\" \
             assign_to=\"3\"/></action></recv><Reference variables=\"3\"/>\n{}",
            self::step(Step::Ok)
        ),
        Step::Xml(xml) => xml.into(),
        Step::Pause(ms) => format!("<pause milliseconds=\"{ms}\"/>\n"),
    }
}

pub const REGISTER: &str = r#"<scenario name="register"><send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:USER@[remote_ip]>;tag=[call_number]
To: <sip:USER@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:USER@[local_ip]:[local_port]>
Max-Forwards: 70
Expires: 300
Content-Length: 0

]]></send><recv response="401" auth="true"/><send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:USER@[remote_ip]>;tag=[call_number]
To: <sip:USER@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:USER@[local_ip]:[local_port]>
[authentication username=USER password=PASSWORD]
Max-Forwards: 70
Expires: 300
Content-Length: 0

]]></send><recv response="200"/></scenario>"#;

/// Runs a caller's scenario so many times, one after the other, from an address of its own; whether each went as written.
pub async fn once(from: &str, port: u16, gateway: u16, xml: &str, times: u32) -> bool {
    let dir = std::env::temp_dir().join(format!("skybridge-sipp-{}-{from}-{port}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("once.xml");
    std::fs::write(&file, format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n{xml}")).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new("sipp");
    command
        .arg(format!("127.0.0.1:{gateway}"))
        .args([
            "-i",
            from,
            "-p",
            &port.to_string(),
            "-m",
            &times.to_string(),
            "-l",
            "1",
            "-nostdin",
            "-trace_err",
            "-trace_msg",
        ])
        .args(["-recv_timeout", "1500", "-timeout", "20s", "-timeout_error", "-max_retrans", "2", "-sf"])
        .arg(&file)
        .current_dir(&dir)
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let status = tokio::task::spawn_blocking(move || command.status()).await.unwrap().unwrap();
    if !status.success() && std::env::var("SIPP_LOG").is_ok() {
        eprintln!("{}", logs(&dir));
    }
    let _ = std::fs::remove_dir_all(&dir);
    status.success()
}

/// Waits at this port for so many calls of a called one's scenario; whether all went as written.
pub async fn serve(at: &str, port: u16, gateway: u16, xml: &str, times: u32) -> bool {
    once(at, port, gateway, xml, times).await
}

pub struct Sipp {
    child: Child,
    dir: PathBuf,
}

fn run(dir: &PathBuf, name: &str, xml: &str, port: u16, gateway: u16, limit_s: u32, transport: &str) -> Child {
    std::fs::create_dir_all(dir).unwrap();
    let file = dir.join(format!("{name}.xml"));
    std::fs::write(&file, format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n{xml}")).unwrap();
    let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
    Command::new("sipp")
        .arg(format!("127.0.0.1:{gateway}"))
        .args(["-i", "127.0.0.1", "-m", "1", "-nostdin", "-trace_err", "-trace_msg", "-recv_timeout", "15000"])
        .args(["-p", &port.to_string(), "-mp", &(port + 4).to_string(), "-timeout", &format!("{limit_s}s")])
        .args(["-t", transport, "-timeout_error", "-sf"])
        .arg(&file)
        .current_dir(dir)
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Sipp {
    /// Registers a contact of `user` at this port and then waits for one call, of which all `steps` must happen.
    pub fn phone(user: &str, port: u16, gateway: u16, steps: &[Step]) -> Sipp {
        Sipp::phone_of(user, "", port, gateway, steps)
    }

    /// As [`Sipp::phone`], with parameters of its Contact such as `;q=0.5`.
    pub fn phone_of(user: &str, contact: &str, port: u16, gateway: u16, steps: &[Step]) -> Sipp {
        let dir = std::env::temp_dir().join(format!("skybridge-sipp-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let register = REGISTER.replace("USER", user).replace("PASSWORD", &format!("secret{}", &user[3..]));
        let register = register.replace("[local_port]>\nMax", &format!("[local_port]>{contact}\nMax"));
        let register = register.replace("[local_port]>\n[auth", &format!("[local_port]>{contact}\n[auth"));
        let mut child = run(&dir, "register", &register, port, gateway, 10, "u1");
        assert!(child.wait().unwrap().success(), "{}", logs(&dir));
        let steps: String = steps.iter().map(|s| step(*s)).collect();
        let scenario = format!("<scenario name=\"call\">\n{steps}</scenario>\n");
        let child = run(&dir, "call", &scenario, port, gateway, 25, "u1");
        let sipp = Sipp { child, dir };
        // Until its socket is there.
        for _ in 0..100 {
            if std::net::UdpSocket::bind(("127.0.0.1", port)).is_err() {
                return sipp;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", logs(&sipp.dir));
    }

    /// Waits for one call at this port, over `u1` (UDP) or `t1` (TCP), that must go as written.
    pub async fn server(port: u16, gateway: u16, xml: &str, transport: &str) -> Sipp {
        let dir = std::env::temp_dir().join(format!("skybridge-sipp-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let child = run(&dir, "server", xml, port, gateway, 60, transport);
        tokio::time::sleep(Duration::from_millis(500)).await;
        Sipp { child, dir }
    }

    /// What it has sent and received so far.
    pub fn messages(&self) -> String {
        logs(&self.dir)
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// All steps happened.
    pub async fn done(mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}: {}", logs(&self.dir)),
                None => assert!(Instant::now() < end, "still there: {}", logs(&self.dir)),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn logs(dir: &PathBuf) -> String {
    let files = std::fs::read_dir(dir).unwrap().filter_map(|f| Some(f.ok()?.path()));
    files
        .filter(|f| !f.to_string_lossy().ends_with(".xml"))
        .map(|f| format!("{}:\n{}\n", f.display(), String::from_utf8_lossy(&std::fs::read(&f).unwrap_or_default())))
        .collect()
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
