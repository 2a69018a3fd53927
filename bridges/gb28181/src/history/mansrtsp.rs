//! MANSRTSP: the RTSP-like bodies of INFO that steer a playback (GB/T 28181-2022 clause 9.8 and annex B; reference section 12.7).
//! Pure.

/// Media type of the bodies; compared without case.
pub const CONTENT_TYPE: &str = "Application/MANSRTSP";
/// Longest body that is read, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// Most header lines that are read.
const MAX_LINES: usize = 64;

/// What the device shall do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    Pause,
    /// Goes on where it paused, with the last speed.
    Resume,
    /// Seconds from the beginning of what was asked for.
    Seek(f64),
    Scale(f64),
    Teardown,
}

/// How an order names its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `RTSP/1.0`: what nearly all take.
    Rtsp,
    /// `MANSRTSP/1.0`: as in the text of 2016.
    Mansrtsp,
}

/// Writes an order. `cseq` rises by one within a dialog.
pub fn write(order: Order, cseq: u32, version: Version) -> String {
    let version = if version == Version::Rtsp { "RTSP/1.0" } else { "MANSRTSP/1.0" };
    let (method, line) = match order {
        Order::Pause => ("PAUSE", "PauseTime: now\r\n".to_owned()),
        Order::Resume => ("PLAY", "Range: npt=now-\r\n".to_owned()),
        Order::Seek(at) => ("PLAY", format!("Range: npt={}-\r\n", number(at.max(0.0)))),
        Order::Scale(scale) => ("PLAY", format!("Scale: {}\r\n", number(scale))),
        Order::Teardown => ("TEARDOWN", String::new()),
    };
    format!("{method} {version}\r\nCSeq: {cseq}\r\n{line}\r\n")
}

/// With one digit behind the point at least for scales, none for whole seconds: as the standard's examples.
fn number(n: f64) -> String {
    let text = format!("{n:.3}");
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').map_or_else(|| text.to_owned(), |whole| format!("{whole}.0"))
}

/// The answer in the body of an INFO's 200. All of it may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// 200 where the device writes no status.
    pub code: u16,
    pub cseq: Option<u32>,
    /// The speed that the device has really taken.
    pub scale: Option<f64>,
    /// Seconds from the beginning of what was asked for, where it goes on.
    pub range: Option<f64>,
    /// First packet of the new position.
    pub sequence: Option<u16>,
    /// Its RTP time stamp.
    pub rtp_time: Option<u32>,
}

/// Reads an answer: lines in any case, ended by CRLF or LF, both spellings of the version, unknown lines left out. None when
/// the body is no MANSRTSP at all; what cannot be read of a line is left out.
pub fn read(body: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(body.get(..body.len().min(MAX_BYTES))?);
    let mut lines = text.lines().map(str::trim).skip_while(|l| l.is_empty());
    let first = lines.next()?;
    let (version, rest) = first.split_once(' ')?;
    if !matches!(version.to_ascii_uppercase().as_str(), "RTSP/1.0" | "MANSRTSP/1.0") {
        return None;
    }
    let code = rest.split_whitespace().next().and_then(|c| c.parse().ok()).unwrap_or(200);
    let mut answer = Answer { code, ..Answer::default() };
    for line in lines.take(MAX_LINES).take_while(|l| !l.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "cseq" => answer.cseq = value.parse().ok(),
            "scale" => answer.scale = finite(value).filter(|s| *s != 0.0 && s.abs() <= 64.0),
            "range" => answer.range = npt(value),
            "rtp-info" => {
                for part in value.split([';', ',']).take(16) {
                    let Some((key, number)) = part.split_once('=') else { continue };
                    match key.trim().to_ascii_lowercase().as_str() {
                        "seq" => answer.sequence = number.trim().parse().ok(),
                        "rtptime" => answer.rtp_time = number.trim().parse().ok(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(answer)
}

fn finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|n| n.is_finite())
}

/// The beginning of `npt=100-`, `npt=100.5-200`; none for `now-` and nonsense.
fn npt(value: &str) -> Option<f64> {
    let (unit, range) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("npt") {
        return None;
    }
    let start = range.trim().split('-').next()?.trim();
    finite(start).filter(|n| (0.0..=31_536_000.0).contains(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_are_those_of_the_standard() {
        assert_eq!(write(Order::Pause, 3, Version::Rtsp), "PAUSE RTSP/1.0\r\nCSeq: 3\r\nPauseTime: now\r\n\r\n");
        assert_eq!(write(Order::Resume, 4, Version::Rtsp), "PLAY RTSP/1.0\r\nCSeq: 4\r\nRange: npt=now-\r\n\r\n");
        assert_eq!(write(Order::Scale(2.0), 5, Version::Rtsp), "PLAY RTSP/1.0\r\nCSeq: 5\r\nScale: 2.0\r\n\r\n");
        assert_eq!(write(Order::Scale(0.25), 5, Version::Rtsp), "PLAY RTSP/1.0\r\nCSeq: 5\r\nScale: 0.25\r\n\r\n");
        assert_eq!(write(Order::Scale(-1.0), 5, Version::Rtsp), "PLAY RTSP/1.0\r\nCSeq: 5\r\nScale: -1.0\r\n\r\n");
        assert_eq!(
            write(Order::Seek(100.0), 6, Version::Rtsp),
            "PLAY RTSP/1.0\r\nCSeq: 6\r\nRange: npt=100.0-\r\n\r\n"
        );
        assert_eq!(write(Order::Seek(-4.0), 6, Version::Rtsp), "PLAY RTSP/1.0\r\nCSeq: 6\r\nRange: npt=0.0-\r\n\r\n");
        assert_eq!(write(Order::Teardown, 7, Version::Rtsp), "TEARDOWN RTSP/1.0\r\nCSeq: 7\r\n\r\n");
        assert!(write(Order::Pause, 1, Version::Mansrtsp).starts_with("PAUSE MANSRTSP/1.0\r\n"));
    }

    #[test]
    fn answers_of_all_kinds_are_read() {
        let a = read(b"RTSP/1.0 200 OK\r\nCSeq: 6\r\nRange: npt=96.5-3600\r\nScale: -1\r\nRTP-Info: url=x;seq=4711;rtptime=90000\r\n\r\n").unwrap();
        assert_eq!((a.code, a.cseq, a.range, a.scale), (200, Some(6), Some(96.5), Some(-1.0)));
        assert_eq!((a.sequence, a.rtp_time), (Some(4711), Some(90_000)));
        let a = read(b"\nMANSRTSP/1.0 457 Invalid Range\ncseq:7\nRANGE: npt=now-\n").unwrap();
        assert_eq!((a.code, a.cseq, a.range), (457, Some(7), None));
        assert_eq!(read(b"RTSP/1.0 OK\r\n").unwrap().code, 200);
    }

    #[test]
    fn nonsense_is_left_out_and_limits_hold() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read(&[0xFF; 64]), None);
        let a =
            read(b"RTSP/1.0 200 OK\r\nScale: NaN\r\nRange: npt=-5-\r\nRTP-Info: seq=99999;rtptime=x\r\nCSeq: -1\r\n")
                .unwrap();
        assert_eq!(a, Answer { code: 200, ..Answer::default() });
        let mut long = b"RTSP/1.0 200 OK\r\n".to_vec();
        long.extend("X: y\r\n".repeat(10_000).bytes());
        long.extend(b"Scale: 2\r\n");
        assert_eq!(read(&long).unwrap().scale, None, "what stands behind the limit is not read");
    }
}
