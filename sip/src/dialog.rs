//! Dialog state (RFC 3261 section 12): tags, CSeq, remote target, route set.

use crate::{
    message::{Request, Response},
    method::Method,
    uri::{NameAddr, Uri},
};

/// Identifies a dialog: Call-ID, our tag, the peer's tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DialogKey {
    pub call_id: String,
    pub local: String,
    pub remote: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub key: DialogKey,
    local: String,
    remote: String,
    contact: Option<String>,
    pub local_seq: u32,
    pub remote_seq: Option<u32>,
    /// The peer's last reliable answer and how many there were (RFC 3262).
    pub rseq: Option<(u32, u32)>,
    pub target: Uri,
    /// The route set, first hop first, as `<uri>` text.
    routes: Vec<String>,
}

/// At most so many Record-Route entries are followed.
const MAX_ROUTES: usize = 16;

impl Dialog {
    /// The caller's dialog from a response with a To tag (a missing tag counts as empty, for RFC 2543 peers).
    pub fn uac(invite: &Request, resp: &Response) -> Option<Dialog> {
        let from = invite.from()?;
        let to = resp.to()?;
        let mut routes: Vec<String> =
            resp.headers.get_all("Record-Route").take(MAX_ROUTES).map(str::to_owned).collect();
        routes.reverse();
        Some(Dialog {
            key: DialogKey {
                call_id: invite.call_id()?.to_owned(),
                local: from.tag()?.to_owned(),
                remote: to.tag().unwrap_or("").to_owned(),
            },
            local: invite.headers.get("From")?.to_owned(),
            remote: resp.headers.get("To")?.to_owned(),
            contact: invite.headers.get("Contact").map(str::to_owned),
            local_seq: invite.cseq()?.0,
            remote_seq: None,
            rseq: None,
            target: resp.contact().map_or_else(|| invite.uri.clone(), |c| c.uri),
            routes,
        })
    }

    /// The callee's dialog from an INVITE and the tag we gave it.
    pub fn uas(invite: &Request, tag: &str, contact: &str) -> Option<Dialog> {
        let from = invite.from()?;
        Some(Dialog {
            key: DialogKey {
                call_id: invite.call_id()?.to_owned(),
                local: tag.to_owned(),
                remote: from.tag().unwrap_or("").to_owned(),
            },
            local: invite.to()?.with_tag(tag).to_string(),
            remote: invite.headers.get("From")?.to_owned(),
            contact: Some(contact.to_owned()),
            local_seq: 0,
            remote_seq: invite.cseq().map(|c| c.0),
            rseq: None,
            target: invite.contact().map_or_else(|| from.uri.clone(), |c| c.uri),
            routes: invite.headers.get_all("Record-Route").take(MAX_ROUTES).map(str::to_owned).collect(),
        })
    }

    /// A request without body inside this dialog, with the next CSeq (section 12.2.1.1). No Via yet.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_seq = self.local_seq.saturating_add(1);
        let mut req = Request::new(method, self.target.clone());
        self.dress(&mut req, self.local_seq);
        req
    }

    /// Completes a caller's request for this dialog: URI, routes, tags, Call-ID, the next CSeq.
    pub fn complete(&mut self, req: &mut Request) {
        self.local_seq = self.local_seq.saturating_add(1);
        self.dress(req, self.local_seq);
    }

    /// The ACK to a 2xx of the INVITE with that CSeq (section 13.2.2.4). No Via yet.
    pub fn ack(&self, cseq: u32) -> Request {
        let mut req = Request::new(Method::Ack, self.target.clone());
        self.dress(&mut req, cseq);
        req
    }

    fn dress(&self, req: &mut Request, cseq: u32) {
        req.uri = self.target.clone();
        let mut routes = self.routes.clone();
        // A first hop without lr is a strict router: it becomes the Request-URI and the target goes to the end.
        let first = routes.first().and_then(|r| r.parse::<NameAddr>().ok());
        if let Some(first) = first.filter(|f| f.uri.param("lr").is_none()) {
            routes.remove(0);
            routes.push(format!("<{}>", self.target));
            req.uri = first.uri;
        }
        req.headers.remove("Route");
        let mut head: Vec<(&str, String)> = routes.into_iter().map(|r| ("Route", r)).collect();
        head.extend([
            ("From", self.local.clone()),
            ("To", self.remote.clone()),
            ("Call-ID", self.key.call_id.clone()),
            ("CSeq", format!("{cseq} {}", req.method)),
        ]);
        for name in ["From", "To", "Call-ID", "CSeq"] {
            req.headers.remove(name);
        }
        for (name, value) in head.into_iter().rev() {
            req.headers.push_front(name, value);
        }
        if let (Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer, Some(contact)) =
            (&req.method, &self.contact)
        {
            req.headers.set_default("Contact", contact);
        }
    }

    /// Takes over the peer's new Contact from a target refresh (INVITE, UPDATE and their 2xx).
    pub fn refresh(&mut self, contact: Option<NameAddr>) {
        if let Some(contact) = contact {
            self.target = contact.uri;
        }
    }

    /// True when the number is not lower than the peer's last; takes it over.
    pub fn accept_seq(&mut self, number: u32) -> bool {
        let good = self.remote_seq.is_none_or(|last| number >= last);
        if good {
            self.remote_seq = Some(number);
        }
        good
    }
}
