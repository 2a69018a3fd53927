//! A gateway of the bench's own on free ports of 127.0.0.1, and its API.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Res;
use crate::process::Program;

const PASSWORD: &str = "bench-own-password";

/// What a measurement needs beside the usual configuration.
#[derive(Default)]
pub struct Extra {
    /// Keys of `[gb28181]`, in place of `allow_without_password = true`.
    pub gb28181: String,
    /// Whole sections.
    pub sections: String,
    pub env: Vec<(&'static str, String)>,
    /// RTP ports; 0: 200.
    pub ports: u16,
}

pub struct Gateway {
    program: Program,
    path: PathBuf,
    log: PathBuf,
    cpu: Option<usize>,
    env: Vec<(&'static str, String)>,
    pub rtp: std::ops::RangeInclusive<u16>,
    pub http: SocketAddr,
    pub sip: SocketAddr,
    pub token: String,
    data: PathBuf,
}

/// A port that is free for UDP and TCP, below the kernel's ephemeral range.
pub fn free_port(seed: &mut u32) -> Res<u16> {
    for _ in 0..500 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let port = 20_000 + ((*seed >> 8) % 5_000) as u16 * 2;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}

impl Gateway {
    pub fn start(program: &Path, out: &Path, cpu: Option<usize>) -> Res<Gateway> {
        Gateway::start_with(program, out, cpu, Extra::default())
    }

    pub fn start_with(program: &Path, out: &Path, cpu: Option<usize>, extra: Extra) -> Res<Gateway> {
        let mut seed = std::process::id().wrapping_mul(2_654_435_761) ^ crate::udp::wall() as u32;
        let (http, sip, browser) = (free_port(&mut seed)?, free_port(&mut seed)?, free_port(&mut seed)?);
        let (rtp, ports) = (27_000 + (seed % 400) as u16 * 2, if extra.ports == 0 { 200 } else { extra.ports });
        let data = std::env::temp_dir().join(format!("skybridge-bench-{}-{http}", std::process::id()));
        fs::create_dir_all(&data)?;
        let config = data.join("bench.toml");
        fs::write(
            &config,
            format!(
                "[site]\ndata = \"{}\"\nlog = \"info\"\n[http]\nlisten = []\nlocal = [\"127.0.0.1:{http}\"]\n\
                 [sip]\nudp = [\"127.0.0.1:{sip}\"]\ntcp = [\"127.0.0.1:{sip}\"]\ntls = []\n\
                 [media]\nrtp_ports = \"{rtp}-{}\"\nbrowser = [\"127.0.0.1:{browser}\"]\nbrowser_announced = [\"127.0.0.1\"]\n\
                 [recorder]\nmin_free_gigabytes = 0\n[gb28181]\n{}\n[gb28181.media]\ngrace = 3\n{}",
                data.display(),
                rtp + ports - 1,
                if extra.gb28181.is_empty() { "allow_without_password = true" } else { &extra.gb28181 },
                extra.sections
            ),
        )?;
        let log = out.join("gateway.log");
        let path = program.to_path_buf();
        let mut program = launch(&path, &config, &log, cpu, &extra.env)?;
        let end = Instant::now() + Duration::from_secs(40);
        let first = loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let word = text
                .split_once("one-time password ")
                .map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default());
            if let Some(word) = word.filter(|_| text.contains(" is ready")) {
                break word.trim_end_matches(['.', ',']).to_string();
            }
            if !program.running() || Instant::now() > end {
                return Err(format!("the gateway did not start: {}", text.lines().last().unwrap_or_default()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut gateway = Gateway {
            program,
            path,
            log,
            cpu,
            env: extra.env,
            rtp: rtp..=rtp + ports - 1,
            http: SocketAddr::from(([127, 0, 0, 1], http)),
            sip: SocketAddr::from(([127, 0, 0, 1], sip)),
            token: String::new(),
            data,
        };
        gateway.token = gateway.sign_in(&first)?;
        gateway.call("POST", "/api/v1/session/password", Some(json!({"old": first, "new": PASSWORD})))?;
        gateway.token = gateway.sign_in(PASSWORD)?;
        Ok(gateway)
    }

    fn sign_in(&self, password: &str) -> Res<String> {
        let got = self.call("POST", "/api/v1/session", Some(json!({"name": "admin", "password": password})))?;
        Ok(got["token"].as_str().ok_or("no token")?.to_string())
    }

    /// Kills the gateway as a power cut would, and starts it again on the same data: seconds until it is ready.
    pub fn crash_and_restart(&mut self) -> Res<f64> {
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.program.pid() as i32, libc::SIGKILL) };
        self.program.wait(Duration::from_secs(8));
        let at = Instant::now();
        self.program = launch(&self.path, &self.data.join("bench.toml"), &self.log, self.cpu, &self.env)?;
        while at.elapsed() < Duration::from_secs(60) {
            if fs::read_to_string(&self.log).unwrap_or_default().contains(" is ready") {
                return Ok(at.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the gateway did not start again".into())
    }

    /// Bytes of the database and its log.
    pub fn database(&self) -> u64 {
        let size = |name: &str| fs::metadata(self.data.join(name)).map_or(0, |m| m.len());
        size("skybridge.db") + size("skybridge.db-wal")
    }

    /// A sum over the lines of a metric whose labels contain a word.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let Ok(answer) = self.client().send("GET", "/metrics", "text/plain", b"") else { return f64::NAN };
        let lines = answer.body.lines().filter(|l| l.starts_with(name) && l.contains(label));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    pub fn client(&self) -> Client {
        Client { http: self.http, token: self.token.clone(), stream: None }
    }

    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Res<Value> {
        let text = body.map(|b| b.to_string()).unwrap_or_default();
        let answer = self.client().send(method, path, "application/json", text.as_bytes())?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.body).into());
        }
        Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    /// Waits until a stream can be watched.
    pub fn knows(&self, device: &str) -> Res<()> {
        let end = Instant::now() + Duration::from_secs(20);
        let mut last = String::new();
        while Instant::now() < end {
            match self.call("GET", &format!("/api/v1/devices/{}", encode(device)), None) {
                Ok(v) if v["online"] == true && v["channels"].as_array().is_some_and(|c| !c.is_empty()) => {
                    return Ok(());
                }
                Ok(v) => last = v.to_string(),
                Err(e) => last = e.to_string(),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(format!("device {device} is not on line: {last}").into())
    }
}

fn launch(path: &Path, config: &Path, log: &Path, cpu: Option<usize>, env: &[(&'static str, String)]) -> Res<Program> {
    let mut command = Command::new(path);
    command.arg("--config").arg(config);
    let names: Vec<_> = std::env::vars_os().map(|(n, _)| n).collect();
    for name in names.iter().filter(|n| n.to_string_lossy().starts_with("SKYBRIDGE_")) {
        command.env_remove(name);
    }
    for (name, value) in env {
        command.env(name, value);
    }
    Program::start(&mut command, log, cpu)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        // The program first (its own drop comes later): it writes there.
        let pid = self.program.pid() as i32;
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        self.program.wait(Duration::from_secs(8));
        if data.starts_with(std::env::temp_dir()) {
            let _ = fs::remove_dir_all(data);
        }
    }
}

pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// One question to another server over a connection of its own: the answer's body.
pub fn http(to: SocketAddr, method: &str, path: &str, body: &str) -> Res<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(35)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").ok_or("no HTTP answer")?.1.to_string())
}

/// One connection that is kept.
pub struct Client {
    http: SocketAddr,
    token: String,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Res<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.http,
            self.token,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        let mut stream = match self.stream.take() {
            Some(s) => s,
            None => {
                let s = TcpStream::connect_timeout(&self.http, Duration::from_secs(5))?;
                s.set_read_timeout(Some(Duration::from_secs(15)))?;
                s.set_nodelay(true)?;
                s
            }
        };
        stream.write_all(&request)?;
        let mut got = Vec::new();
        let mut buf = [0u8; 16 * 1024];
        loop {
            if let Some(at) = got.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&got[..at]).into_owned();
                let field = |name: &str| {
                    head.lines().find_map(|l| {
                        let (k, v) = l.split_once(':')?;
                        k.eq_ignore_ascii_case(name).then(|| v.trim().to_string())
                    })
                };
                let length: usize = field("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
                if got.len() >= at + 4 + length {
                    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
                    let body = String::from_utf8_lossy(&got[at + 4..at + 4 + length]).into_owned();
                    self.stream = Some(stream);
                    return Ok(Answer { status, body });
                }
            }
            let n = stream.read(&mut buf)?;
            if n == 0 {
                return Err("the gateway closed the connection".into());
            }
            got.extend_from_slice(&buf[..n]);
        }
    }

    /// Posts a WHEP offer: the answer.
    pub fn whep(&mut self, stream: &str, offer: &str) -> Res<String> {
        let answer = self.send(
            "POST",
            &format!("/api/v1/whep/{}?audio=0", encode(stream)),
            "application/sdp",
            offer.as_bytes(),
        )?;
        if answer.status != 201 {
            return Err(format!("WHEP: {} {}", answer.status, answer.body).into());
        }
        Ok(answer.body)
    }
}
