//! One way to somebody who is called: what differs between an INVITE to a phone and one to a trunk, as data.

use bridge_core::CallParty;
use sip::{Call, DigestClient, Method, NameAddr, Request, SipError, Target, Uri};

use crate::phone::Shared;
use crate::trunk::Way;
use crate::trunk::identity::{Outgoing, anonymous};

/// Where an INVITE goes and what it says of caller and callee.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// The flow or address that the request is sent to.
    pub target: Target,
    /// The request URI.
    pub uri: Uri,
    /// What a 401 or 407 is answered with.
    pub credentials: Option<DigestClient>,
    pub identity: Identity,
    /// The proxies on the way, the nearest first (RFC 3327): the Route of the request.
    pub route: Vec<String>,
    /// The trunk it goes by, with its bounds.
    pub way: Option<Way>,
    /// How much the phone wants to be called here, in thousandths (RFC 3261 section 20.10).
    pub q: u16,
    /// Tried one after the other when this one cannot carry the call: other flows of the same device (RFC 5626 section 5.3), other
    /// servers and trunks.
    pub fallbacks: Vec<Reach>,
}

/// How From, To and the identity headers are written.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// To a phone of ours: the caller's number at our own address, asserted (RFC 3325), since we proved who it is.
    Own,
    /// As the trunk wants it.
    Trunk(Box<Outgoing>),
}

impl Reach {
    /// A contact of a phone.
    pub fn phone(target: Target, contact: Uri) -> Reach {
        Reach {
            target,
            uri: contact,
            credentials: None,
            identity: Identity::Own,
            route: Vec::new(),
            way: None,
            q: 0,
            fallbacks: Vec::new(),
        }
    }

    /// An INVITE with request URI, From, To and identity headers; the rest is the asker's. `hidden`: the caller wants it so
    /// (RFC 3323).
    pub fn invite(&self, shared: &Shared, caller: &CallParty, callee: &CallParty, hidden: bool) -> Request {
        let mut request = Request::new(Method::Invite, self.uri.clone());
        for route in &self.route {
            request.headers.push("Route", route);
        }
        match &self.identity {
            Identity::Own => {
                // The hall is one circle of trust (RFC 3325): its phones see who of them calls, whatever he asks for.
                let hidden = hidden && caller.number == "anonymous";
                let host = shared.ctx.sip.local_address(&self.target).ip().to_string();
                let uri = Uri::sip(&caller.number, &host, None);
                let from = NameAddr { display: Some(caller.name.clone()), uri, ..NameAddr::default() };
                let from = if hidden { anonymous() } else { from };
                request.headers.set("From", from.to_string());
                request.headers.set("To", NameAddr::new(Uri::sip(&callee.number, &host, None)).to_string());
                if !hidden {
                    request.headers.set("P-Asserted-Identity", from.to_string());
                }
            }
            Identity::Trunk(outgoing) => {
                outgoing.dress(&shared.ctx.sip, &self.target, &mut request, &caller.name, hidden);
            }
        }
        request
    }

    /// Sends it.
    pub async fn call(&self, shared: &Shared, request: Request) -> Result<Call, SipError> {
        if let Some(way) = &self.way {
            return shared.ctx.sip.invite_within(self.target, request, self.credentials.clone(), way.patience()).await;
        }
        match &self.credentials {
            Some(credentials) => shared.ctx.sip.invite_as(self.target, request, credentials.clone()).await,
            None => shared.ctx.sip.invite(self.target, request).await,
        }
    }
}
