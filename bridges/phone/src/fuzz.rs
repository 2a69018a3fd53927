//! Entry points for the fuzzers: bytes of a stranger go in, nothing may panic or grow without bound.

use sip::{Message, Method, NameAddr, Request, Uri};

use crate::b2b::Replaces;
use crate::trunk::identity::{Incoming, uri, user_of, wants_privacy};
use crate::trunk::numbers::{normal, rewritten, ways};
use crate::trunk::{NumberForm, NumberRoute, Rewrite};

/// Longest that is shown of a caller's number or name, in letters.
const SHOWN: usize = 40;

/// The header Replaces by itself, in an INVITE and inside a Refer-To. What was read is written and read as the same, in each of the
/// three.
pub fn replaces(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        if let Ok(read) = Replaces::parse(line) {
            let value = read.value();
            assert_eq!(Replaces::parse(&value).as_ref(), Ok(&read), "{value:?}");
            let mut invite = Request::new(Method::Invite, Uri::sip("1", "h", None));
            invite.headers.set("Replaces", &value);
            assert_eq!(Replaces::of_invite(&invite), Ok(Some(read.clone())), "{value:?}");
            invite.headers.push("Replaces", &value);
            assert!(Replaces::of_invite(&invite).is_err(), "two are one too many");
            let escaped: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
            let to: Option<NameAddr> = format!("<sip:8005@192.0.2.1?Replaces={escaped}>").parse().ok();
            if let Some(to) = to.filter(|_| value.len() < 256) {
                assert_eq!(Replaces::of_refer_to(&to), Ok(Some(read)), "{value:?}");
            }
        }
        for to in [line.to_owned(), format!("<sip:8005@192.0.2.1?Replaces={line}>")] {
            if let Ok(to) = to.parse::<NameAddr>() {
                let _ = Replaces::of_refer_to(&to);
            }
        }
    }
}

/// Who calls by a trunk: From, P-Asserted-Identity and Privacy of a whole request, or one of each from the lines of the input. Who
/// hides stays hidden, what is shown is short and has no control characters, and a number is written in both forms as it was read.
pub fn identity(data: &[u8]) {
    if let Ok(Message::Request(request)) = Message::parse(data) {
        caller(&request);
    }
    let text = String::from_utf8_lossy(data);
    let mut request = Request::new(Method::Invite, Uri::sip("600", "192.0.2.1", None));
    for (name, line) in ["From", "P-Asserted-Identity", "P-Asserted-Identity", "Privacy"].iter().zip(text.lines()) {
        request.headers.push(name, line);
        caller(&request);
    }
}

fn caller(request: &Request) {
    for trusted in [true, false] {
        let who = Incoming::read(request, trusted);
        if wants_privacy(&request.headers) {
            assert_eq!(who, Incoming { number: None, name: None }, "who hides is not shown");
        }
        for shown in who.number.iter().chain(&who.name) {
            assert!(shown.chars().count() <= SHOWN && !shown.chars().any(char::is_control), "{shown:?}");
        }
        let Some(number) = &who.number else { continue };
        let rule = Rewrite { prefix: String::new(), strip: 2, add: "00".to_owned() };
        let _ = rewritten(&[rule], number);
        let routes = [
            NumberRoute { prefix: "0".into(), strip: 1, trunks: vec!["a".into()], ..NumberRoute::default() },
            NumberRoute { strip: 3, add: "+86".into(), trunks: vec!["b".into()], ..NumberRoute::default() },
        ];
        assert!(ways(&routes, number).iter().all(|w| normal(&w.number).as_ref() == Some(&w.number)));
        if let Some(number) = normal(number) {
            for form in [NumberForm::Sip, NumberForm::Tel] {
                let written = uri(form, &number, "ims.example").to_string();
                let read = written.parse::<Uri>().map(|u| user_of(&u));
                assert_eq!(read.as_deref().ok(), Some(number.as_str()), "{written}");
            }
        }
    }
}

/// The body of a MESSAGE: its first line is the content type. What is read is text of bounded length without control characters, and
/// cut into pieces it is still all there.
pub fn text(data: &[u8]) {
    let (kind, body) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(data.len()));
    let mut request = Request::new(Method::Message, Uri::sip("9000", "h", None));
    request.set_body(&String::from_utf8_lossy(kind), body.to_vec());
    for reliable in [false, true] {
        if let Ok(read) = crate::texts::body::read(&request, reliable) {
            assert!(!read.is_empty() && read.chars().count() <= bridge_core::MOST_TEXT);
            assert!(!read.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            let cut = crate::texts::body::pieces(&read, 640);
            assert!(cut.iter().all(|p| p.len() <= 640));
            if cut.len() > 1 {
                let whole: String = cut.iter().filter_map(|p| Some(p.split_once(") ")?.1)).collect();
                assert_eq!(whole, read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    /// Not a fuzzer: some thousands of broken bodies on every run of the tests.
    #[test]
    fn broken_texts_do_no_harm() {
        let long = format!("text/plain\n{}", "水位 3 米。".repeat(120));
        let seeds: [&[u8]; 3] = [
            "text/plain;charset=UTF-8\n道路中断，请绕行。".as_bytes(),
            b"text/plain;charset=GB2312\n\xC4\xE3\xBA\xC3",
            long.as_bytes(),
        ];
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        for round in 0..6_000 {
            let mut data = seeds[round % seeds.len()].to_vec();
            for _ in 0..next() % 6 {
                let at = next() % data.len();
                match next() % 3 {
                    0 => data[at] = next() as u8,
                    1 => data.insert(at, next() as u8),
                    _ => {
                        data.remove(at);
                    }
                }
            }
            super::text(&data);
        }
    }
}
