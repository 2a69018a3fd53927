//! What a request must look like before anybody else sees it (RFC 3261 sections 8.1.1, 8.2.2, 16.3).

use crate::{
    message::{Request, Response},
    method::Method,
    parse::Fault,
};

/// A refusal: status code, reason phrase, one more header.
pub(crate) struct Refusal {
    pub code: u16,
    pub why: &'static str,
    pub header: Option<(&'static str, String)>,
}

fn refuse(code: u16, why: &'static str) -> Result<(), Refusal> {
    Err(Refusal { code, why, header: None })
}

/// True when enough can be read to answer at all: a Via, From, To, Call-ID and CSeq line.
pub(crate) fn answerable(req: &Request) -> bool {
    req.top_via().is_some()
        && ["From", "To", "Call-ID", "CSeq"].iter().all(|n| req.headers.get(n).is_some_and(|v| !v.is_empty()))
}

/// Checks one request.
pub(crate) fn check(req: &Request, faults: &[Fault], supported: &[String]) -> Result<(), Refusal> {
    if faults.contains(&Fault::Version) {
        return refuse(505, "Version Not Supported");
    }
    if faults.contains(&Fault::RequestUri) {
        return refuse(400, "Malformed Request-URI");
    }
    if faults.contains(&Fault::Incomplete) {
        return refuse(400, "Incomplete Message");
    }
    if faults.contains(&Fault::ContentLength) {
        return refuse(400, "Bad Content-Length");
    }
    for name in ["From", "To", "Call-ID", "CSeq", "Max-Forwards"] {
        if req.headers.count(name) > 1 {
            return refuse(400, "Repeated Header");
        }
    }
    if req.headers.get_all("Via").any(|v| v.parse::<crate::uri::Via>().is_err()) {
        return refuse(400, "Malformed Via");
    }
    if req.from().is_none() || req.to().is_none() || req.call_id().is_none() {
        return refuse(400, "Malformed From, To or Call-ID");
    }
    // RFC 3261 section 20: with a question mark the address must stand in <>, else nobody can tell whose it is.
    let open = |v: &str| !v.contains('<') && v.split(';').next().is_some_and(|address| address.contains('?'));
    if ["From", "To", "Contact"].iter().any(|n| req.headers.get_all(n).any(open)) {
        return refuse(400, "Address Without <>");
    }
    match req.cseq() {
        None => return refuse(400, "Malformed CSeq"),
        Some((_, method)) if method != req.method => return refuse(400, "CSeq Method Mismatch"),
        Some(_) => {}
    }
    let contact = req.headers.get("Contact").map(str::trim);
    if matches!(req.method, Method::Invite | Method::Register)
        && contact.is_some_and(|c| c != "*")
        && req.contact().is_none()
    {
        return refuse(400, "Malformed Contact");
    }
    if !req.uri.is_sip() && !req.uri.scheme.eq_ignore_ascii_case("tel") {
        return refuse(416, "Unsupported URI Scheme");
    }
    if let Some(hops) = req.headers.get("Max-Forwards") {
        let forwards = matches!(req.method, Method::Invite | Method::Subscribe | Method::Refer | Method::Publish);
        match hops.trim().parse::<u8>() {
            Err(_) => return refuse(400, "Bad Max-Forwards"),
            Ok(0) if forwards => return refuse(483, "Too Many Hops"),
            Ok(_) => {}
        }
    }
    if !matches!(req.method, Method::Ack | Method::Cancel) {
        let unknown: Vec<&str> = req
            .headers
            .tokens("Require")
            .filter(|t| !supported.iter().any(|s| s.eq_ignore_ascii_case(t)))
            .take(8)
            .collect();
        if !unknown.is_empty() {
            return Err(Refusal { code: 420, why: "Bad Extension", header: Some(("Unsupported", unknown.join(", "))) });
        }
    }
    Ok(())
}

/// The answer for the wire.
pub(crate) fn answer(req: &Request, refusal: Refusal) -> Response {
    let mut out = req.respond(refusal.code);
    out.reason = refusal.why.to_owned();
    if let Some((name, value)) = refusal.header {
        out.headers.set(name, value);
    }
    out
}
