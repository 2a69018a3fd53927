//! What must not leave the house in a capture: the response of a digest (it can be tried against passwords off line) and
//! passwords in catalogs. Covered with `x` of the same length, so that nothing else moves.

/// Covers secrets of one SIP message; tells whether there were any.
pub fn mask(message: &mut [u8]) -> bool {
    let lower = message.to_ascii_lowercase();
    let end = find(&lower, b"\r\n\r\n", 0).unwrap_or(lower.len());
    let mut found = false;
    let mut at = 0;
    while let Some(start) = find(&lower, b"authorization", at).filter(|s| *s < end) {
        let line_end = lower.iter().skip(start).position(|b| *b == b'\n').map_or(lower.len(), |n| start + n);
        let mut from = start;
        while let Some(hit) = find(&lower, b"response", from).filter(|h| *h < line_end) {
            let mut p = hit + 8;
            let is = |p: usize, b: &[u8]| lower.get(p).is_some_and(|x| b.contains(x));
            while is(p, b" \t=\"") {
                p += 1;
            }
            while p < line_end && !is(p, b"\",; \t\r\n") {
                cover(message, p);
                found = true;
                p += 1;
            }
            from = p.max(hit + 8);
        }
        at = line_end.max(start + 1);
    }
    let mut at = end;
    while let Some(start) = find(&lower, b"<password>", at) {
        let from = start + 10;
        let to = lower.iter().skip(from).position(|b| *b == b'<').map_or(lower.len(), |n| from + n);
        for p in from..to {
            cover(message, p);
            found = true;
        }
        at = to.max(start + 10);
    }
    found
}

fn cover(message: &mut [u8], at: usize) {
    if let Some(b) = message.get_mut(at) {
        *b = b'x';
    }
}

fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|w| w == what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> (String, bool) {
        let mut bytes = text.as_bytes().to_vec();
        let found = mask(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        (String::from_utf8_lossy(&bytes).into_owned(), found)
    }

    #[test]
    fn digests_and_passwords_are_covered() {
        let (out, found) = masked(
            "REGISTER sip:a SIP/2.0\r\nAuthorization: Digest username=\"u\",nonce=\"n\",response=\"5a4203a1\",uri=\"sip:a\"\r\n\
             proxy-authorization: Digest response=abc, x=1\r\n\r\n",
        );
        assert!(
            found && out.contains("response=\"xxxxxxxx\",uri=\"sip:a\"") && out.contains("response=xxx, x=1"),
            "{out}"
        );
        assert!(out.contains("username=\"u\",nonce=\"n\""));
        let (out, found) = masked("MESSAGE a\r\n\r\n<Item><Password>secret</Password><Name>response</Name></Item>");
        assert!(found && out.contains("<Password>xxxxxx</Password><Name>response</Name>"), "{out}");
        assert!(!masked("INVITE a\r\nSubject: response=1\r\n\r\nbody").1);
        assert!(
            !masked("").1
                && !masked("Authorization: Digest response").1
                && masked("Authorization: Digest response=\"a").1
        );
    }

    #[test]
    fn damaged_messages_do_no_harm() {
        let text = b"A\r\nAuthorization: Digest response=\"12\"\r\n\r\n<Password>x</Password>";
        for n in 0..text.len() {
            for b in [0u8, b'"', b'<', b'\n', 0xFF] {
                let mut copy = text.to_vec();
                copy[n] = b;
                copy.truncate(text.len() - n / 2);
                mask(&mut copy);
            }
        }
    }
}
