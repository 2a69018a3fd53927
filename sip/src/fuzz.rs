//! Bodies of the fuzz targets in `tests/fuzz`: they must not panic and must keep the promises named in them.

use bytes::Bytes;

use crate::{
    limits::Limits,
    message::Message,
    parse, prepass,
    stream::{Frame, Framer, websocket_frame},
};

/// The pre-pass, both ways; the body is always a tail of the input, byte for byte (or empty).
pub fn prepass(data: &[u8]) {
    let input = Bytes::copy_from_slice(data);
    for datagram in [true, false] {
        let out = prepass::prepare(&input, datagram);
        assert!(data.ends_with(&out.body));
        assert!(!out.head.contains('\r') || data.contains(&b'\r'));
    }
}

/// Parse, read every typed header, write, parse again: the second reading gives the same message.
pub fn message(data: &[u8]) {
    let prepared = prepass::prepare(&Bytes::copy_from_slice(data), true);
    let Ok(parsed) = parse::parse(&prepared) else { return };
    let bytes = match &parsed.message {
        Message::Request(r) => {
            let _ = (r.call_id(), r.cseq(), r.from(), r.to(), r.contact(), r.expires(), r.top_via());
            let _ = crate::validate::check(r, &parsed.faults, &[]);
            let _ = crate::auth::claimed_user(r);
            let _ = r.respond(400).to_bytes();
            r.to_bytes()
        }
        Message::Response(r) => {
            let _ = (r.call_id(), r.cseq(), r.from(), r.to(), r.contact(), r.expires(), r.top_via(), r.retry_after());
            r.to_bytes()
        }
    };
    let again = parse::parse(&prepass::prepare(&bytes, false));
    assert!(again.is_ok(), "what we write can be read");
    if let Ok(again) = again {
        let body = |m: &Message| match m {
            Message::Request(r) => r.body.clone(),
            Message::Response(r) => r.body.clone(),
        };
        assert_eq!(body(&again.message), body(&parsed.message), "the body is unchanged");
    }
}

/// One WebSocket message: what is taken for a message is within the limits and a tail of the input.
pub fn websocket(data: &[u8]) {
    let limits = Limits { max_header: 2048, max_body: 4096, ..Limits::default() };
    let input = Bytes::copy_from_slice(data);
    if let Ok(Some(Frame::Message(message))) = websocket_frame(&input, &limits) {
        assert!(data.ends_with(&message) && message.len() <= 2048 + 4096);
        let prepared = prepass::prepare(&message, true);
        let stated = prepass::content_length(message.get(..message.len() - prepared.body.len()).unwrap_or_default());
        assert!(!prepared.complete || stated.flatten().is_none_or(|n| n == prepared.body.len()));
    }
}

/// A STUN Binding request: what is answered gives back our address and nothing else, and never more than is right.
pub fn stun(data: &[u8]) {
    for peer in ["192.0.2.1:32853", "[2001:db8::1]:5060"] {
        let Ok(peer) = peer.parse() else { return };
        if let Some(answer) = crate::stun::answer(data, peer) {
            assert!(data.len() >= 20 && (32..=44).contains(&answer.len()));
            assert_eq!(answer.get(4..20), data.get(4..20), "the transaction is the asker's");
            assert!(crate::stun::answer(&answer, peer).is_none(), "two of us would answer each other for ever");
        }
    }
}

/// The framer gives the same frames whether the bytes come at once or one by one.
pub fn stream(data: &[u8]) {
    let limits = Limits { max_header: 2048, max_body: 4096, ..Limits::default() };
    let run = |chunk: usize| -> Vec<Frame> {
        let mut framer = Framer::new(&limits);
        let mut out = Vec::new();
        for part in data.chunks(chunk.max(1)) {
            framer.push(part);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => out.push(frame),
                    Ok(None) => break,
                    Err(_) => return out,
                }
            }
            assert!(framer.held() <= 2048 + 4096 + data.len());
        }
        out
    };
    let (whole, single) = (run(data.len()), run(1));
    let common = whole.len().min(single.len());
    assert_eq!(whole.get(..common), single.get(..common));
}
