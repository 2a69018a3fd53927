//! Who is registered where (RFC 3261 section 10.3). No I/O, no clock: the caller gives the time.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    flow::{Flow, FlowId, Transport},
    message::{self, Request, Response},
    uri::Uri,
};

/// One contact of an address of record. Requests go to `flow` (or `received`), never to `contact` itself, which is
/// often a private address; it is only the Request-URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub contact: Uri,
    pub flow: FlowId,
    pub transport: Transport,
    /// Source address of the last message.
    pub received: SocketAddr,
    pub expires_at: Instant,
    pub call_id: String,
    pub cseq: u32,
    pub user_agent: Option<String>,
    /// `+sip.instance`: the device itself, whatever its address (RFC 5626 section 4.1).
    pub instance: Option<String>,
    /// The number of this flow of the instance (RFC 5626 section 4.2), where the registration follows that RFC.
    pub reg_id: Option<u32>,
    /// The wish for this contact among the others, in thousandths (RFC 3261 section 10.2.1.2); 1000 where nothing is said.
    pub q: u16,
    /// The proxies between us and the contact, the first of the Route of a request to it first (RFC 3327).
    pub path: Vec<String>,
}

impl Binding {
    /// Whether a new contact takes the place of this one: the same URI, or the same flow of the same device.
    fn is_replaced_by(&self, contact: &Uri, instance: Option<&str>, reg_id: Option<u32>) -> bool {
        match (instance, &self.instance) {
            // A device that comes back with another port or address (section 6 of RFC 5626; without reg-id by the same reason).
            (Some(new), Some(old)) if new == old => self.reg_id == reg_id,
            // Two devices behind one NAT may say the same private contact.
            (Some(_), Some(_)) => false,
            _ => self.contact.same_contact(contact),
        }
    }
}

/// Entries of a Path that are kept; a REGISTER with more is refused.
const MAX_PATH: usize = 8;
/// Bytes of an instance's name.
const MAX_INSTANCE: usize = 128;

/// Rules of a [`Location`] table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationConfig {
    /// Addresses of record; more gives 503. Default 100,000.
    pub max_aors: usize,
    /// Bindings of one; the oldest gives way. 1 for GB/T 28181 devices, which come back with a new port and Call-ID
    /// without logging out. Default 5.
    pub max_bindings: usize,
    /// Shorter wishes give 423 with Min-Expires. Default 60 s.
    pub min_expires: Duration,
    /// Longer wishes are cut to this. Default 86,400 s.
    pub max_expires: Duration,
    /// Where nothing is asked for. Default 3,600 s.
    pub default_expires: Duration,
    /// Refuse a CSeq that is not higher within one Call-ID with 500, as RFC 3261 section 10.3 step 7 wants it. Default
    /// off: devices that start at 1 again with the same Call-ID would stay offline, and replays fail at the nonce.
    pub strict_cseq: bool,
}

impl Default for LocationConfig {
    fn default() -> LocationConfig {
        LocationConfig {
            max_aors: 100_000,
            max_bindings: 5,
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(86_400),
            default_expires: Duration::from_secs(3_600),
            strict_cseq: false,
        }
    }
}

/// What a REGISTER did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// All bindings after it.
    pub bindings: Vec<Binding>,
    /// There was none before.
    pub new: bool,
    /// None is left: the device has logged out.
    pub gone: bool,
    /// The expiry granted to the contact of this request; zero for a removal or a query.
    pub granted: Duration,
}

/// Why a REGISTER was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// 400.
    #[error("Contact or Expires cannot be used")]
    Bad,
    /// 439: it asked for RFC 5626 through a proxy that does not know it.
    #[error("the first hop lacks outbound support")]
    NoOutbound,
    /// 423; the peer's fault.
    #[error("expiry shorter than {0:?}")]
    TooBrief(Duration),
    /// 500: an old request arrived late.
    #[error("CSeq is not higher than before")]
    OutOfOrder,
    /// 503.
    #[error("the location table is full")]
    Full,
}

impl RegisterError {
    /// The answer for the wire.
    pub fn response(&self, req: &Request) -> Response {
        match self {
            RegisterError::Bad => req.respond(400),
            RegisterError::NoOutbound => {
                Response { reason: "First Hop Lacks Outbound Support".into(), ..req.respond(439) }
            }
            RegisterError::TooBrief(min) => req.respond(423).with("Min-Expires", min.as_secs().to_string()),
            RegisterError::OutOfOrder => req.respond(500),
            RegisterError::Full => req.respond(503).with("Retry-After", "30"),
        }
    }
}

/// The location table.
#[derive(Debug, Default)]
pub struct Location {
    config: LocationConfig,
    aors: HashMap<String, Vec<Binding>>,
    by_time: BTreeSet<(Instant, String)>,
}

impl Location {
    /// An empty table.
    pub fn new(config: LocationConfig) -> Location {
        Location { config, ..Location::default() }
    }

    /// Number of addresses of record.
    pub fn len(&self) -> usize {
        self.aors.len()
    }

    /// True when nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.aors.is_empty()
    }

    /// The live bindings of an address of record, newest last.
    pub fn lookup(&self, now: Instant, aor: &str) -> Vec<&Binding> {
        self.aors.get(aor).into_iter().flatten().filter(|b| b.expires_at > now).collect()
    }

    /// Addresses of record with their bindings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Binding])> {
        self.aors.iter().map(|(a, b)| (a.as_str(), b.as_slice()))
    }

    /// Carries out an authenticated REGISTER. `aor` is the caller's key (a 20-digit id, or `user@domain`).
    pub fn register(
        &mut self,
        now: Instant,
        aor: &str,
        req: &Request,
        flow: &Flow,
    ) -> Result<Registered, RegisterError> {
        let (call_id, cseq) = match (req.call_id(), req.cseq()) {
            (Some(id), Some((n, _))) => (id.to_owned(), n),
            _ => return Err(RegisterError::Bad),
        };
        let before = self.aors.get(aor).is_some_and(|b| b.iter().any(|b| b.expires_at > now));
        if !before && self.aors.len() >= self.config.max_aors && !self.aors.contains_key(aor) {
            return Err(RegisterError::Full);
        }
        let mut list: Vec<Binding> = self.lookup(now, aor).into_iter().cloned().collect();
        let strict = self.config.strict_cseq;
        let late = |list: &[Binding]| strict && list.iter().any(|b| b.call_id == call_id && b.cseq >= cseq);
        let mut granted = Duration::ZERO;
        let path: Vec<String> =
            req.headers.get_all("Path").map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect();
        let first =
            path.first().map(|p| p.parse::<crate::uri::NameAddr>()).transpose().map_err(|_| RegisterError::Bad)?;
        if path.len() > MAX_PATH {
            return Err(RegisterError::Bad);
        }
        // Section 6 of RFC 5626: through a proxy only when that one keeps the flow, which `ob` says.
        let direct = req.headers.get_all("Via").count() <= 1;
        let keeps = first.as_ref().is_some_and(|f| f.uri.param("ob").is_some());
        let wants_outbound = req.headers.tokens("Supported").any(|t| t.eq_ignore_ascii_case("outbound"));
        if req.headers.get("Contact").map(str::trim) == Some("*") {
            if req.expires() != Some(0) || req.headers.count("Contact") > 1 {
                return Err(RegisterError::Bad);
            }
            if late(&list) {
                return Err(RegisterError::OutOfOrder);
            }
            list.clear();
        } else {
            for value in req.headers.get_all("Contact").take(8) {
                let contact: crate::uri::NameAddr = value.parse().map_err(|_| RegisterError::Bad)?;
                let instance = contact.param("+sip.instance").map(crate::text::unquote);
                let instance = instance.filter(|i| !i.is_empty() && i.len() <= MAX_INSTANCE);
                let reg_id = contact.param("reg-id").and_then(|n| n.trim().parse::<u32>().ok()).filter(|n| *n > 0);
                let reg_id = reg_id.filter(|_| wants_outbound && instance.is_some());
                if reg_id.is_some() && !direct && !keeps {
                    return Err(RegisterError::NoOutbound);
                }
                let asked = match contact.param("expires") {
                    Some(v) => message::seconds(v).or(Some(3_600)),
                    None => req.expires(),
                };
                let asked = asked.map_or(self.config.default_expires, |s| Duration::from_secs(u64::from(s)));
                if late(
                    list.iter()
                        .filter(|b| b.is_replaced_by(&contact.uri, instance.as_deref(), reg_id))
                        .cloned()
                        .collect::<Vec<_>>()
                        .as_slice(),
                ) {
                    return Err(RegisterError::OutOfOrder);
                }
                list.retain(|b| !b.is_replaced_by(&contact.uri, instance.as_deref(), reg_id));
                if asked.is_zero() {
                    continue;
                }
                if asked < self.config.min_expires {
                    return Err(RegisterError::TooBrief(self.config.min_expires));
                }
                granted = asked.min(self.config.max_expires);
                let q = contact.param("q").and_then(|q| q.trim().parse::<f32>().ok()).unwrap_or(1.0);
                list.push(Binding {
                    instance,
                    reg_id,
                    q: (q.clamp(0.0, 1.0) * 1000.0) as u16,
                    path: path.clone(),
                    contact: contact.uri,
                    flow: flow.id,
                    transport: flow.transport,
                    received: flow.peer,
                    expires_at: now + granted,
                    call_id: call_id.clone(),
                    cseq,
                    user_agent: req.headers.get("User-Agent").map(str::to_owned),
                });
                while list.len() > self.config.max_bindings.max(1) {
                    list.remove(0);
                }
            }
        }
        self.put(aor, list.clone());
        Ok(Registered { new: !before && !list.is_empty(), gone: list.is_empty(), bindings: list, granted })
    }

    fn put(&mut self, aor: &str, list: Vec<Binding>) {
        for b in self.aors.remove(aor).into_iter().flatten() {
            self.by_time.remove(&(b.expires_at, aor.to_owned()));
        }
        for b in &list {
            self.by_time.insert((b.expires_at, aor.to_owned()));
        }
        if !list.is_empty() {
            self.aors.insert(aor.to_owned(), list);
        }
    }

    /// Notes where the newest binding of `aor` sends from now (on every REGISTER and keepalive: NAT moves ports).
    /// True when it moved.
    pub fn touch(&mut self, aor: &str, flow: &Flow) -> bool {
        let Some(b) = self.aors.get_mut(aor).and_then(|l| l.last_mut()) else { return false };
        let moved = b.flow != flow.id || b.received != flow.peer;
        (b.flow, b.transport, b.received) = (flow.id, flow.transport, flow.peer);
        moved
    }

    /// Takes an address of record out; true when it was there.
    pub fn remove(&mut self, aor: &str) -> bool {
        let there = self.aors.contains_key(aor);
        self.put(aor, Vec::new());
        there
    }

    /// Takes the bindings of a closed connection out and gives back the addresses of record that have none left.
    pub fn flow_closed(&mut self, flow: FlowId) -> Vec<String> {
        let hit: Vec<String> =
            self.aors.iter().filter(|(_, l)| l.iter().any(|b| b.flow == flow)).map(|(a, _)| a.clone()).collect();
        hit.into_iter()
            .filter(|aor| {
                let rest: Vec<Binding> =
                    self.aors.get(aor).into_iter().flatten().filter(|b| b.flow != flow).cloned().collect();
                let gone = rest.is_empty();
                self.put(aor, rest);
                gone
            })
            .collect()
    }

    /// When the next binding ends.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.by_time.first().map(|(t, _)| *t)
    }

    /// Takes out what has ended and gives back the addresses of record that have no binding left.
    pub fn tick(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some((at, aor)) = self.by_time.first().cloned() {
            if at > now {
                break;
            }
            let rest: Vec<Binding> =
                self.aors.get(&aor).into_iter().flatten().filter(|b| b.expires_at > now).cloned().collect();
            if rest.is_empty() {
                gone.push(aor.clone());
            }
            self.put(&aor, rest);
            self.by_time.remove(&(at, aor));
        }
        gone
    }

    /// The 200 to a REGISTER: every binding as a Contact with its remaining time, and `Expires` for devices that read
    /// only that. `Date` and `X-GB-Ver` are the caller's.
    pub fn answer(&self, now: Instant, req: &Request, done: &Registered) -> Response {
        let mut out = req.respond(200);
        for b in &done.bindings {
            let left = b.expires_at.saturating_duration_since(now).as_secs();
            let mut value = format!("<{}>;expires={left}", b.contact);
            if let Some(instance) = &b.instance {
                value.push_str(&format!(";+sip.instance={}", crate::text::quote(instance)));
            }
            if let Some(reg_id) = b.reg_id {
                value.push_str(&format!(";reg-id={reg_id}"));
            }
            if b.q < 1000 {
                value.push_str(&format!(";q=0.{:03}", b.q));
            }
            out.headers.push("Contact", value);
        }
        let own = if done.gone { 0 } else { done.granted.as_secs() };
        out.headers.set("Expires", own.to_string());
        // The phone has to see that the proxies between are known here (RFC 3327 section 5.3), and that its flow is kept.
        for value in req.headers.get_all("Path").take(MAX_PATH) {
            out.headers.push("Path", value.trim());
        }
        let call_id = req.call_id().unwrap_or_default();
        if done.bindings.iter().any(|b| b.reg_id.is_some() && b.call_id == call_id) {
            out.headers.push("Require", "outbound");
        }
        out
    }
}
