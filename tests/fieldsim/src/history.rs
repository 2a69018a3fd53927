//! Playback and download of what the tape holds: a thread for each session, steered by MANSRTSP orders (reference sections 12.7 and
//! 12.8).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::device::Device;
use crate::faults::Faults;
use crate::media_out::{Out, Prepared};
use crate::report;
use crate::session::{Channel, pause};
use crate::sip_text::{Message, param};
use crate::tape::{self, Span};

/// The reason that says that the recording has come to its end.
pub const END: &str = "end of the recording";

/// An order of the platform. The sender gets the sequence number of the first packet after it.
pub enum Order {
    Pause,
    Resume,
    Seek(f64, mpsc::Sender<u16>),
    Scale(f64),
}

/// The way from INFO to the thread.
#[derive(Default)]
pub struct Control(Mutex<VecDeque<Order>>);

impl Control {
    pub fn push(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
    }

    fn take(&self) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// What was asked for.
pub struct Wanted {
    /// Unix milliseconds.
    pub from: i64,
    pub to: i64,
    /// Set for a download: times real time.
    pub download: Option<f64>,
    pub spans: Vec<Span>,
    /// Pictures in a group.
    pub gop: u32,
    pub control: Arc<Control>,
}

/// Bytes of what a download will give, roughly: what a device would tell of its file.
pub fn file_size(channel: &Channel, wanted: &Wanted) -> u64 {
    let ms: i64 = wanted.spans.iter().map(|s| (s.to.min(wanted.to) - s.from.max(wanted.from)).max(0)).sum();
    ms as u64 * u64::from(channel.bitrate) / 8 / 1000
}

pub struct Run {
    pub channel: Arc<Channel>,
    pub faults: Faults,
    pub ssrc: u32,
    pub call_id: String,
    pub bind: IpAddr,
    pub prepared: Prepared,
    pub wanted: Wanted,
}

/// Frame numbers in the order in which they are sent.
struct Walk {
    next: i64,
    gop: i64,
    backwards: bool,
}

impl Walk {
    /// Forwards one by one; backwards group by group, pictures within them forwards.
    fn step(&mut self) {
        self.next += 1;
        if self.backwards && self.next.rem_euclid(self.gop) == 0 {
            self.next -= 2 * self.gop;
        }
    }
}

/// The frame itself where the tape holds it, else the first one of the next span; none at the end.
fn held(spans: &[Span], frame: i64, fps: u32, backwards: bool) -> Option<i64> {
    let at = tape::time_of(frame, fps);
    if spans.iter().any(|s| at >= s.from && at < s.to) {
        return Some(frame);
    }
    if backwards {
        return None;
    }
    spans.iter().filter(|s| s.from > at).map(|s| tape::frame_at(s.from, fps)).min()
}

pub fn run(plan: Run, stop: &AtomicBool) -> Result<(), String> {
    let Run { channel, faults, ssrc, call_id, bind, prepared, wanted } = plan;
    let Some(mut out) = Out::open(prepared, bind, ssrc, &faults, stop)? else { return Ok(()) };
    let fps = channel.fps.max(1);
    let gop = i64::from(wanted.gop.max(1));
    let last = tape::frame_at(wanted.to, fps);
    // A device begins at the key frame at or before what was asked for.
    let start = |ms: i64| held(&wanted.spans, tape::frame_at(ms, fps), fps, false).map(|f| f - f.rem_euclid(gop));
    let Some(first) = start(wanted.from) else { return Err(END.into()) };
    let mut walk = Walk { next: first, gop, backwards: false };
    let mut scale = wanted.download.unwrap_or(1.0);
    let mut paused = false;
    let mut due = Instant::now();
    // Stamps: the recording's time, or with `wall-stamps` the time of sending; from 0 with `stamps-from-zero`.
    let zero = if faults.stamps_from_zero { first * 90_000 / i64::from(fps) } else { 0 };
    let mut wall_stamp = first * 90_000 / i64::from(fps) - zero;
    let mut block = channel.sound.first_block((first * 90_000 / i64::from(fps)).max(0) as u64);
    let mut sent = 0u64;
    let began = first;
    let mut ps = Vec::new();
    report::event(
        "history_begins",
        &channel.id,
        json!({"call_id": call_id, "frame": tape::painted(first, fps), "download": wanted.download}),
    );
    let outcome = loop {
        while let Some(order) = wanted.control.take() {
            match order {
                Order::Pause => paused = true,
                Order::Resume => {
                    paused = false;
                    due = Instant::now();
                }
                Order::Scale(n) => {
                    scale = n;
                    let back = n < 0.0;
                    if back != walk.backwards {
                        walk.backwards = back;
                        walk.next -= walk.next.rem_euclid(gop);
                        if back {
                            walk.next -= gop;
                        }
                    }
                    paused = false;
                    due = Instant::now();
                }
                Order::Seek(npt, reply) => {
                    let _ = reply.send(out.next_sequence());
                    if let Some(to) = start(wanted.from + (npt * 1000.0) as i64) {
                        walk.next = to;
                        block = channel.sound.first_block((to * 90_000 / i64::from(fps)).max(0) as u64);
                    }
                    paused = false;
                    due = Instant::now();
                }
            }
        }
        if paused {
            if !pause(Instant::now() + Duration::from_millis(20), stop) {
                break Ok(());
            }
            continue;
        }
        let Some(frame) = held(&wanted.spans, walk.next, fps, walk.backwards) else { break Err(END.to_owned()) };
        if (!walk.backwards && frame >= last) || (walk.backwards && frame < began) {
            break Err(END.to_owned());
        }
        walk.next = frame;
        if !pause(due, stop) {
            break Ok(());
        }
        let step = Duration::from_secs_f64(1.0 / (f64::from(fps) * scale.abs().max(0.01)));
        due += step;
        // A slow machine sends what it can; it does not leave pictures of a recording out.
        due = due.max(Instant::now() - Duration::from_millis(200));
        let group = match tape::group(&channel, frame.div_euclid(gop), wanted.gop.max(1)) {
            Ok(group) => group,
            Err(e) => break Err(e),
        };
        let at = frame.rem_euclid(gop) as usize;
        let media = frame * 90_000 / i64::from(fps);
        let stamp = if faults.wall_stamps { wall_stamp } else { media - zero };
        wall_stamp += (90_000.0 / (f64::from(fps) * scale.abs().max(0.01))) as i64;
        let mut video = group.get(at).cloned().unwrap_or_default();
        if faults.reencodes {
            // A filler NAL unit, another in each session: the picture is the same, its bytes are not.
            video.extend_from_slice(&[0, 0, 0, 1, 12]);
            video.extend((0..8).map(|_| rand::random::<u8>() | 1));
            video.push(0x80);
        }
        let sounds = scale == 1.0 || wanted.download.is_some();
        let until = ((frame + 1) * 90_000 / i64::from(fps)).max(0) as u64;
        let mut audio = if sounds { channel.sound.due(&mut block, until) } else { Vec::new() };
        audio.iter_mut().for_each(|(pts, _)| *pts = (*pts as i64 - media + stamp).max(0) as u64);
        ps.clear();
        crate::ps::Pack {
            pts: stamp.max(0) as u64,
            key: at == 0,
            video: &video,
            video_type: crate::ps::STREAM_H264,
            audio_type: channel.sound.stream_type(),
            audio: &audio,
            with_map: !faults.no_psm,
            shape: &faults.shape,
        }
        .write(&mut ps);
        let parts: Vec<Vec<u8>> = ps.chunks(crate::rtp::MAX_PAYLOAD).map(<[u8]>::to_vec).collect();
        if let Err(e) = out.frame(&parts, stamp as u32, step) {
            break Err(e);
        }
        sent += 1;
        let played = (frame - began) as f64 / f64::from(fps);
        if wanted.download.is_some() && faults.drop_download.is_some_and(|s| played >= s) {
            break Err("fault drop-download".into());
        }
        walk.step();
    };
    report::event(
        "history_ended",
        &channel.id,
        json!({"call_id": call_id, "frames": sent, "error": outcome.as_ref().err()}),
    );
    outcome
}

impl Device {
    /// An INFO: the MANSRTSP order in its body.
    pub async fn info(&mut self, request: &Message, from: std::net::SocketAddr) {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let call_id = request.call_id().to_string();
        let Some((control, id)) =
            self.calls.get(&call_id).and_then(|c| Some((c.control.clone()?, c.channel.id.clone())))
        else {
            return self.answer(request, from, 481, "Call/Transaction Does Not Exist").await;
        };
        let line = |name: &str| {
            text.lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(n, _)| n.trim().eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_owned())
        };
        let method = text.split_whitespace().next().unwrap_or("").to_owned();
        let (cseq, scale, range) = (line("CSeq"), line("Scale"), line("Range"));
        let npt: Option<f64> = range.as_deref().and_then(|r| r.strip_prefix("npt=")?.split('-').next()?.parse().ok());
        let number: u32 = cseq.as_deref().and_then(|c| c.parse().ok()).unwrap_or(0);
        let rising = self.calls.get_mut(&call_id).is_some_and(|c| number > std::mem::replace(&mut c.rtsp_cseq, number));
        report::event(
            "mansrtsp",
            &id,
            json!({"call_id": call_id, "method": method, "cseq": number, "rising": rising, "scale": scale, "npt": npt}),
        );
        if self.faults.info_refused {
            return self.answer(request, from, 405, "Method Not Allowed").await;
        }
        let mut more = String::new();
        let mut code = "200 OK";
        match (method.as_str(), npt, scale.as_deref().and_then(|s| s.parse::<f64>().ok())) {
            ("PAUSE", ..) => control.push(Order::Pause),
            ("PLAY", Some(_), _) if self.faults.seek_refused => code = "457 Invalid Range",
            ("PLAY", Some(npt), _) => {
                let (tx, rx) = mpsc::channel();
                control.push(Order::Seek(npt, tx));
                if self.faults.rtp_info
                    && let Ok(sequence) = rx.recv_timeout(Duration::from_millis(300))
                {
                    more = format!("Range: npt={npt}-\r\nRTP-Info: seq={sequence}\r\n");
                }
            }
            ("PLAY", None, Some(scale)) if self.faults.speed_refused => {
                code = "451 Parameter Not Understood";
                let _ = scale;
            }
            ("PLAY", None, Some(scale)) => {
                // Backwards at -1 only.
                let scale = if scale < 0.0 { -1.0 } else { scale };
                control.push(Order::Scale(scale));
                more = format!("Scale: {scale}\r\n");
            }
            ("PLAY", None, None) => control.push(Order::Resume),
            _ => {}
        }
        let body = format!("RTSP/1.0 {code}\r\nCSeq: {number}\r\n{more}\r\n");
        let out = Message::response(request, 200, "OK", &crate::ua::token())
            .with_body("Application/MANSRTSP", body.into_bytes());
        self.ua.reply(request, from, out).await;
    }

    /// MediaStatus 121, in the way that this device has; the platform's BYE follows.
    pub async fn recording_ended(&mut self, call_id: &str) {
        if self.faults.no_121 {
            return;
        }
        self.sn += 1;
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let about = call.channel.id.clone();
        let sender = if self.faults.other_id_121 { "34020000009990000099".to_owned() } else { self.spec.id.clone() };
        let named = if self.faults.other_id_121 { about.clone() } else { sender.clone() };
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"GB18030\"?>\r\n<Notify>\r\n<CmdType>MediaStatus</CmdType>\r\n<SN>{}</SN>\r\n\
             <DeviceID>{named}</DeviceID>\r\n<NotifyType>121</NotifyType>\r\n</Notify>\r\n",
            self.sn
        );
        report::event("media_status", &about, json!({"call_id": call_id}));
        if self.faults.outside_121 || self.faults.other_id_121 {
            let to = self.field.server_id.clone();
            let mut request = self.fresh("MESSAGE", &to, &crate::ua::token());
            if self.faults.other_id_121 {
                let from = format!("<sip:{sender}@{}>;tag={}", self.field.domain, crate::ua::token());
                request.set("From", from);
            }
            let request = request.with_body("Application/MANSCDP+xml", crate::xml::encode(&text));
            self.ua.request(request).await;
            return;
        }
        call.cseq += 1;
        let inside = Message::request("MESSAGE", &call.contact)
            .with("From", call.ours.clone())
            .with("To", call.theirs.clone())
            .with("Call-ID", call_id)
            .with("CSeq", format!("{} MESSAGE", call.cseq))
            .with("Max-Forwards", "70")
            .with_body("Application/MANSCDP+xml", crate::xml::encode(&text));
        if param(&call.ours, "tag").is_some() {
            self.ua.request(inside).await;
        }
    }

    /// RecordInfo: what the tape holds of the range asked for, so many items a message.
    pub fn record_info(&self, sn: &str, id: &str, query: &str) -> Vec<String> {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8));
        let civil = |name: &str| {
            let text = crate::xml::element(query, name)?;
            let at: jiff::civil::DateTime = text.parse().ok()?;
            Some(at.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
        };
        let (from, to) = (civil("StartTime").unwrap_or(i64::MIN), civil("EndTime").unwrap_or(i64::MAX));
        // Some recorders answer nothing without `Type`.
        let all = crate::xml::element(query, "Type").as_deref() == Some("all");
        let found: Vec<&Span> = self.tape.iter().filter(|s| all && s.to > from && s.from < to).collect();
        let name = crate::xml::escape(&self.spec.name);
        if found.is_empty() {
            return vec![crate::catalog::response(
                "RecordInfo",
                sn,
                id,
                &format!("<Name>{name}</Name>\r\n<SumNum>0</SumNum>\r\n"),
            )];
        }
        let time = |ms: i64| {
            let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
            at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
        };
        let each = self.spec.record_pieces.max(1);
        found
            .chunks(each)
            .map(|part| {
                let items: String = part
                    .iter()
                    .map(|s| {
                        format!(
                            "<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Name>{name}</Name>\r\n<FilePath>/tape/{}</FilePath>\r\n\
                             <StartTime>{}</StartTime>\r\n<EndTime>{}</EndTime>\r\n<Secrecy>0</Secrecy>\r\n<Type>{}</Type>\r\n</Item>\r\n",
                            s.from,
                            time(s.from),
                            time(s.to),
                            s.kind
                        )
                    })
                    .collect();
                let inner = format!(
                    "<Name>{name}</Name>\r\n<SumNum>{}</SumNum>\r\n<RecordList Num=\"{}\">\r\n{items}</RecordList>\r\n",
                    found.len(),
                    part.len()
                );
                crate::catalog::response("RecordInfo", sn, id, &inner)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_forwards_and_backwards() {
        let mut w = Walk { next: 50, gop: 25, backwards: true };
        let seen: Vec<i64> = (0..51)
            .map(|_| {
                let at = w.next;
                w.step();
                at
            })
            .collect();
        assert_eq!((seen[0], seen[24], seen[25], seen[49], seen[50]), (50, 74, 25, 49, 0));
        let spans =
            [Span { from: 0, to: 1000, kind: String::new() }, Span { from: 4000, to: 5000, kind: String::new() }];
        assert_eq!(held(&spans, 24, 25, false), Some(24));
        assert_eq!(held(&spans, 25, 25, false), Some(100));
        assert_eq!((held(&spans, 125, 25, false), held(&spans, 50, 25, true)), (None, None));
    }
}
