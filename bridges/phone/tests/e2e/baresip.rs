//! baresip as a phone: an own process, its own configuration, a wav file as microphone, and what it heard in a wav file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::signal::{read_wav, read_wav_mono, write_tone_at};

pub fn missing() -> bool {
    let missing = Command::new("baresip").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    if missing {
        eprintln!("skipped: no baresip (apt install baresip-core)");
    }
    missing
}

/// In [`Account::extra`]: it registers over TLS.
pub const TLS: &str = ";transport=tls";
/// In [`Account::extra`], before a number: whom the command `message` writes to.
pub const WRITES_TO: &str = ";writes_to=";

pub struct Baresip {
    child: Child,
    dir: PathBuf,
    control: TcpStream,
}

pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub gateway: u16,
    pub codec: &'a str,
    pub tone: f32,
    /// Own SIP port (TLS one above); the control port is 20 above.
    pub port: u16,
    pub extra: &'a str,
}

impl Baresip {
    pub fn start(a: Account<'_>) -> Baresip {
        let dir = std::env::temp_dir().join(format!("skybridge-baresip-{}-{}", std::process::id(), a.port));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let wav = dir.join("tone.wav");
        // The microphone must have the codec's own rate and channels; of several codecs the last one's.
        let (rate, channels) = match a.codec.split(',').next_back().and_then(|c| c.split('/').next()) {
            Some("opus") => (48_000, 2),
            Some("G722" | "AMR-WB") => (16_000, 1),
            _ => (8000, 1),
        };
        write_tone_at(&wav, a.tone, 90, rate, channels);
        // Its end is the end of `extra`.
        let (extra, reader) = a.extra.split_once(WRITES_TO).map_or((a.extra, None), |(e, r)| (e, Some(r)));
        let modules = [
            "account.so",
            "menu.so",
            "g711.so",
            "g722.so",
            "opus.so",
            "amr.so",
            "auconv.so",
            "aufile.so",
            "aubridge.so",
            "sndfile.so",
            "ctrl_tcp.so",
            "uuid.so",
        ];
        let mut config = format!(
            "sip_listen 127.0.0.1:{}\naudio_source aufile,{}\naudio_player aubridge,null\naudio_alert aubridge,null\n\
             audio_srate {rate}\naudio_channels {channels}\nrtp_ports {}-{}\nnet_interface 127.0.0.1\nsnd_path {}\n\
             ctrl_tcp_listen 127.0.0.1:{}\nmodule_path /usr/lib/baresip/modules\njitter_buffer_delay 1-5\n",
            a.port,
            wav.display(),
            a.port + 4,
            a.port + 18,
            dir.display(),
            a.port + 20,
        );
        config.push_str(&format!("cons_listen 127.0.0.1:{}\n", a.port + 21));
        // Only where it is used: dtls_srtp makes a key at each start.
        let secure: &[&str] = match a.extra {
            e if e.contains("dtls_srtp") => &["dtls_srtp.so"],
            e if e.contains("mediaenc") => &["srtp.so"],
            _ => &[],
        };
        for module in modules
            .iter()
            .chain(secure)
            .chain(if reader.is_some() { &["contact.so", "cons.so"][..] } else { &[] })
            .filter(|m| PathBuf::from("/usr/lib/baresip/modules").join(m).exists())
        {
            let kind = if ["account.so", "menu.so", "ctrl_tcp.so", "contact.so", "cons.so"].contains(module) {
                "module_app"
            } else {
                "module"
            };
            config.push_str(&format!("{kind} {module}\n"));
        }
        std::fs::write(dir.join("config"), config).unwrap();
        // Over TLS the gateway is on its next port.
        let server = match a.extra.split_once(TLS) {
            Some(_) => format!("{}{TLS}", a.gateway + 1),
            None => a.gateway.to_string(),
        };
        let account = format!(
            "\"{}\" <sip:{}@127.0.0.1:{server}>;auth_user={};auth_pass={};audio_codecs={};regint=60{}\n",
            a.user,
            a.user,
            a.user,
            a.password,
            a.codec,
            extra.replace(TLS, "")
        );
        std::fs::write(dir.join("accounts"), account).unwrap();
        let contact = reader.map(|r| format!("\"{r}\" <sip:{r}@127.0.0.1:{}>\n", a.gateway)).unwrap_or_default();
        std::fs::write(dir.join("contacts"), &contact).unwrap();
        std::fs::write(dir.join("current_contact"), &contact).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("baresip")
            .arg("-f")
            .arg(&dir)
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut control = None;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(50));
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", a.port + 20)) {
                control = Some(stream);
                break;
            }
        }
        let control =
            control.unwrap_or_else(|| panic!("baresip: {}", std::fs::read_to_string(dir.join("log")).unwrap()));
        control.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if reader.is_some() {
            // What it shows to people goes to whoever is connected here.
            let mut console = TcpStream::connect(("127.0.0.1", a.port + 21)).unwrap();
            let mut out = std::fs::File::create(dir.join("shown")).unwrap();
            std::thread::spawn(move || std::io::copy(&mut console, &mut out));
        }
        Baresip { child, dir, control }
    }

    pub fn command(&mut self, command: &str, params: &str) {
        let json = format!("{{\"command\":\"{command}\",\"params\":\"{params}\"}}");
        self.control.write_all(format!("{}:{json},", json.len()).as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let _ = self.control.read(&mut answer);
    }

    pub fn dial(&mut self, number: &str, gateway: u16) {
        self.command("dial", &format!("sip:{number}@127.0.0.1:{gateway}"));
    }

    pub async fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            self.command("sndcode", &key.to_string());
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// What it showed to people; only of one that [`WRITES_TO`] somebody.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("shown")).unwrap_or_default()).into_owned()
    }

    /// What it heard (`dec`) or sent (`enc`) so far, the newest recording.
    pub fn sound(&self, kind: &str) -> Vec<f32> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.dir)
            .unwrap()
            .filter_map(|f| Some(f.ok()?.path()))
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().ends_with(&format!("-{kind}.wav"))))
            .collect();
        files.sort();
        files.last().map(|f| read_wav(f)).unwrap_or_default()
    }

    /// What it heard in its newest recording, the left channel, with the rate.
    pub fn heard(&self) -> (Vec<f32>, f32) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.dir)
            .unwrap()
            .filter_map(|f| Some(f.ok()?.path()))
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().ends_with("-dec.wav")))
            .collect();
        files.sort();
        files.last().map(|f| read_wav_mono(f)).unwrap_or((Vec::new(), 8000.0))
    }

    /// Hangs up and ends in order.
    pub fn quit(&mut self) {
        self.command("quit", "");
        for _ in 0..60 {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
