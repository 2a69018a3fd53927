//! What a device brings to the upload address of a snapshot order (reference section 15): the body in whatever HTTP form, the
//! JPEG in it, and the standard's file name. Pure: bytes in, a picture out. All of it comes from strangers.

/// Parts of a multipart body that are looked at.
const MAX_PARTS: usize = 32;
/// Bytes of one part's headers.
const MAX_PART_HEADERS: usize = 4096;
/// JPEG segments that are walked before the picture's own data.
const MAX_SEGMENTS: usize = 512;
/// Widest and highest picture that is taken.
pub const MAX_SIDE: u16 = 16_384;

/// Why an upload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUpload {
    #[error("the body is empty")]
    Empty,
    #[error("the multipart body cannot be read")]
    Multipart,
    #[error("the body is not a JPEG picture")]
    NotJpeg,
    #[error("the JPEG picture is cut short")]
    Cut,
}

/// A picture found in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    pub jpeg: &'a [u8],
    pub width: u16,
    pub height: u16,
    /// The name that the form gave it, if any.
    pub name: Option<String>,
}

/// What the standard's file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// 20 digits.
    pub device: String,
    /// Beijing time: year, month, day, hour, minute, second, millisecond.
    pub time: [u16; 7],
    pub serial: u8,
}

/// Finds the picture in a body: raw, or the first part of a multipart form that is a JPEG.
pub fn picture<'a>(content_type: &str, body: &'a [u8]) -> Result<Found<'a>, BadUpload> {
    if body.is_empty() {
        return Err(BadUpload::Empty);
    }
    if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        return in_form(content_type, body);
    }
    jpeg(body).map(|(jpeg, width, height)| Found { jpeg, width, height, name: None })
}

fn in_form<'a>(content_type: &str, body: &'a [u8]) -> Result<Found<'a>, BadUpload> {
    let boundary =
        parameter(content_type, "boundary").filter(|b| (1..=70).contains(&b.len())).ok_or(BadUpload::Multipart)?;
    let mark = [b"--", boundary.as_bytes()].concat();
    let mut rest = body;
    let mut worst = BadUpload::Multipart;
    for _ in 0..MAX_PARTS {
        let Some(start) = find(rest, &mark) else { break };
        rest = rest.get(start + mark.len()..).unwrap_or_default();
        if rest.starts_with(b"--") {
            break;
        }
        let head_from = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
        let part = rest.get(head_from..).unwrap_or_default();
        let end = find(part, &mark).unwrap_or(part.len());
        let part = part.get(..end).unwrap_or_default();
        let within = part.get(..part.len().min(MAX_PART_HEADERS)).unwrap_or_default();
        let (head, data_from) = match (find(within, b"\r\n\r\n"), find(within, b"\n\n")) {
            (Some(n), _) => (n, n + 4),
            (None, Some(n)) => (n, n + 2),
            (None, None) => continue,
        };
        let data = part.get(data_from..).unwrap_or_default();
        let data = data.strip_suffix(b"\r\n").or_else(|| data.strip_suffix(b"\n")).unwrap_or(data);
        match jpeg(data) {
            Ok((jpeg, width, height)) => {
                let head = String::from_utf8_lossy(within.get(..head).unwrap_or_default()).into_owned();
                let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with("content-disposition:"));
                let name = line.and_then(|l| parameter(l, "filename")).map(|n| n.chars().take(128).collect());
                return Ok(Found { jpeg, width, height, name });
            }
            Err(error) => worst = error,
        }
    }
    Err(worst)
}

/// `name=value` or `name="value"` of a header's parameters.
pub fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|p| {
        let (key, value) = p.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    // The first byte by itself first: a body of pictures has few of them that go on.
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(n) = hay.get(from..)?.iter().position(|b| *b == first) {
        let at = from + n;
        if hay.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The JPEG at the start of the bytes with its width and height: SOI, segments up to a frame header, and an EOI near the end.
pub fn jpeg(data: &[u8]) -> Result<(&[u8], u16, u16), BadUpload> {
    if !data.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Err(BadUpload::NotJpeg);
    }
    // Rubbish behind the end is common (padding to a block size); a missing end is a broken upload.
    let tail = data.len().saturating_sub(64 * 1024);
    let end = data.get(tail..).unwrap_or_default().windows(2).rposition(|w| w == [0xFF, 0xD9]).ok_or(BadUpload::Cut)?;
    let data = data.get(..tail + end + 2).unwrap_or_default();
    let mut at = 2;
    for _ in 0..MAX_SEGMENTS {
        let Some(&[first, marker]) = data.get(at..at + 2) else { return Err(BadUpload::NotJpeg) };
        if first != 0xFF {
            return Err(BadUpload::NotJpeg);
        }
        match marker {
            // Fill byte.
            0xFF => {
                at += 1;
                continue;
            }
            // Without a length.
            0x01 | 0xD0..=0xD7 => {
                at += 2;
                continue;
            }
            0xD8 | 0xD9 | 0xDA | 0x00 => return Err(BadUpload::NotJpeg),
            _ => {}
        }
        let Some(&[high, low]) = data.get(at + 2..at + 4) else { return Err(BadUpload::NotJpeg) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // SOF0 to SOF15, but for DHT, JPG and DAC.
        if (0xC0..=0xCF).contains(&marker) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let Some(&[h1, h2, w1, w2]) = data.get(at + 5..at + 9) else { return Err(BadUpload::NotJpeg) };
            let (height, width) = (u16::from_be_bytes([h1, h2]), u16::from_be_bytes([w1, w2]));
            if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
                return Err(BadUpload::NotJpeg);
            }
            return Ok((data, width, height));
        }
        if length < 2 {
            return Err(BadUpload::NotJpeg);
        }
        at += 2 + length;
    }
    Err(BadUpload::NotJpeg)
}

/// Reads the standard's file name: device id (20), `02`, time (17), serial (2), with or without folders and a suffix.
pub fn file_name(text: &str) -> Option<FileName> {
    let base = text.rsplit(['/', '\\']).next()?;
    let stem = base.split('.').next()?;
    if stem.len() != 41 || !stem.bytes().all(|b| b.is_ascii_digit()) || stem.get(20..22) != Some("02") {
        return None;
    }
    let number = |from: usize, to: usize| stem.get(from..to)?.parse::<u16>().ok();
    let time = [
        number(22, 26)?,
        number(26, 28)?,
        number(28, 30)?,
        number(30, 32)?,
        number(32, 34)?,
        number(34, 36)?,
        number(36, 39)?,
    ];
    let sound =
        (1..=12).contains(&time[1]) && (1..=31).contains(&time[2]) && time[3] < 24 && time[4] < 60 && time[5] < 61;
    sound.then_some(FileName { device: stem.get(..20)?.to_owned(), time, serial: u8::try_from(number(39, 41)?).ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// SOI, APP0, SOF0 of 640x360, SOS, some data, EOI: as far as we look.
    fn small() -> Vec<u8> {
        let mut j = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xFF, 0xC0, 0, 11, 8, 1, 104, 2, 128, 1, 1, 0x11, 0];
        j.extend([0xFF, 0xDA, 0, 2, 1, 2, 3, 0xFF, 0xD9]);
        j
    }

    #[test]
    fn jpeg_by_its_bytes() {
        let j = small();
        assert_eq!(jpeg(&j).map(|(_, w, h)| (w, h)), Ok((640, 360)));
        let mut padded = j.clone();
        padded.extend([0; 512]);
        assert_eq!(jpeg(&padded).unwrap().0, j.as_slice());
        assert_eq!(jpeg(&j[..j.len() - 2]), Err(BadUpload::Cut));
        assert_eq!(jpeg(b"GIF89a"), Err(BadUpload::NotJpeg));
        assert_eq!(jpeg(b"\xFF\xD8\xFF<html>\xFF\xD9"), Err(BadUpload::NotJpeg));
        assert_eq!(picture("image/jpeg", b""), Err(BadUpload::Empty));
    }

    #[test]
    fn every_http_form() {
        let j = small();
        assert_eq!(picture("application/octet-stream", &j).unwrap().jpeg, j.as_slice());
        let name = "34020000001320000001022026030108311050001.jpg";
        let mut form =
            b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"SessionID\"\r\n\r\nabc\r\n--XX\r\n".to_vec();
        form.extend(
            format!(
                "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/jpeg\r\n\r\n"
            )
            .bytes(),
        );
        form.extend(&j);
        form.extend(b"\r\n--XX--\r\n");
        for kind in ["multipart/form-data; boundary=XX", "Multipart/Form-Data; charset=x; BOUNDARY=\"XX\""] {
            let found = picture(kind, &form).unwrap();
            assert_eq!((found.jpeg, found.name.as_deref()), (j.as_slice(), Some(name)));
        }
        assert_eq!(picture("multipart/form-data", &form), Err(BadUpload::Multipart));
        assert_eq!(picture("multipart/form-data; boundary=YY", &form), Err(BadUpload::Multipart));
    }

    #[test]
    fn the_standards_file_name() {
        let name = file_name("/a/34020000001320000001022026030108311050001.jpg").unwrap();
        assert_eq!(
            (name.device.as_str(), name.time, name.serial),
            ("34020000001320000001", [2026, 3, 1, 8, 31, 10, 500], 1)
        );
        for bad in [
            "",
            "x.jpg",
            "34020000001320000001032026030108311050001.jpg",
            "34020000001320000001022026130108311050001.jpg",
        ] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
    }
}
