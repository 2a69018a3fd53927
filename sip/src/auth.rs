//! HTTP Digest for SIP (RFC 3261 section 22, RFC 7616, RFC 8760): the server side with its nonces, and the client side.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::{Duration, Instant},
};

use md5::{Digest as _, Md5};
use rand::RngCore;
use sha2::Sha256;

use crate::{
    error::SipError,
    message::{Request, Response},
    text,
};

/// The hash of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn parse(text: Option<&str>) -> Option<Algorithm> {
        match text {
            None => Some(Algorithm::Md5),
            Some(t) if t.eq_ignore_ascii_case("MD5") => Some(Algorithm::Md5),
            Some(t) if t.eq_ignore_ascii_case("SHA-256") || t.eq_ignore_ascii_case("SHA256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    /// The hash in lower-case hex.
    pub fn hash(self, data: &str) -> String {
        match self {
            Algorithm::Md5 => hex::encode(Md5::digest(data)),
            Algorithm::Sha256 => hex::encode(Sha256::digest(data)),
        }
    }

    /// HA1 = H(user:realm:password).
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash(&format!("{user}:{realm}:{password}"))
    }
}

/// What is known of a user: the password, or a stored HA1 in hex for one algorithm.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Password(String),
    Ha1(Algorithm, String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    fn ha1(&self, algorithm: Algorithm, user: &str, realm: &str) -> Option<String> {
        match self {
            Secret::Password(p) => Some(algorithm.ha1(user, realm, p)),
            Secret::Ha1(a, h) if *a == algorithm => Some(h.to_ascii_lowercase()),
            Secret::Ha1(..) => None,
        }
    }
}

/// The parameters of one `Digest` header value. Quotes are off; values are kept as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestParams(Vec<(String, String)>);

impl DigestParams {
    /// Reads `Digest a="b", c=d`; `None` for another scheme (GB 35114 `Capability` and `Bidirection` for instance).
    pub fn parse(value: &str) -> Option<DigestParams> {
        let rest = text::strip_prefix_nocase(value.trim(), "Digest")?;
        if !rest.starts_with([' ', '\t']) {
            return None;
        }
        let list = text::split_outside(rest, ',').into_iter().take(text::MAX_PARAMS).filter_map(|p| p.split_once('='));
        Some(DigestParams(list.map(|(n, v)| (n.trim().to_ascii_lowercase(), text::unquote(v))).collect()))
    }

    /// A parameter by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The user name in the Digest `Authorization` (or `Proxy-Authorization`) of a request, before any check of it.
pub fn claimed_user(req: &Request) -> Option<String> {
    authorization(req).and_then(|p| p.get("username").map(str::to_owned))
}

fn authorization(req: &Request) -> Option<DigestParams> {
    req.headers.get_all("Authorization").chain(req.headers.get_all("Proxy-Authorization")).find_map(DigestParams::parse)
}

/// What the response must be (RFC 7616 section 3.4.1). `qop` is (nc, cnonce).
pub fn response(
    algorithm: Algorithm,
    ha1: &str,
    method: &str,
    uri: &str,
    nonce: &str,
    qop: Option<(&str, &str)>,
) -> String {
    let ha2 = algorithm.hash(&format!("{method}:{uri}"));
    match qop {
        Some((nc, cnonce)) => algorithm.hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")),
        None => algorithm.hash(&format!("{ha1}:{nonce}:{ha2}")),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y.to_ascii_lowercase())) == 0
}

/// How a [`DigestServer`] challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestConfig {
    /// The realm; in GB/T 28181 the first ten digits of the platform's id.
    pub realm: String,
    /// One challenge each, in this order. Default MD5 only: old devices take the first and know no other.
    pub algorithms: Vec<Algorithm>,
    /// Offer `qop="auth"`. A few old devices fail on it, so it can be left out; answers without it are then right.
    pub qop: bool,
    /// How long a nonce is good. Default 5 min.
    pub nonce_life: Duration,
    /// Used nonces remembered against replay; the oldest go first. Default 100,000.
    pub max_nonces: usize,
}

impl DigestConfig {
    /// MD5, `qop=auth`, 5 min.
    pub fn new(realm: impl Into<String>) -> DigestConfig {
        DigestConfig {
            realm: realm.into(),
            algorithms: vec![Algorithm::Md5],
            qop: true,
            nonce_life: Duration::from_secs(300),
            max_nonces: 100_000,
        }
    }
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// The user named by [`claimed_user`] is who he says.
    Ok,
    /// Answer with [`DigestServer::challenge_with`]: no credentials (`stale` false), or right ones for a nonce that is
    /// old, used up or of an earlier run of ours (`stale` true: the device may answer without asking its user).
    Challenge { stale: bool },
    /// Wrong user or password: answer 403 and count it against the source.
    Denied,
}

#[derive(Debug, Default)]
struct Used {
    last: HashMap<String, u32>,
    order: VecDeque<String>,
}

/// Checks Digest credentials. A nonce carries its time and a keyed hash over time and the request's From, so asking
/// for challenges costs no memory; only nonces that were used with right credentials are remembered (bounded), to
/// refuse a repeated nonce count. Without `qop` a nonce is good for one request. Needs no `&mut`.
pub struct DigestServer {
    config: DigestConfig,
    key: [u8; 32],
    epoch: Instant,
    used: Mutex<Used>,
}

impl std::fmt::Debug for DigestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestServer").field("realm", &self.config.realm).finish_non_exhaustive()
    }
}

impl DigestServer {
    /// A server with a random key.
    pub fn new(config: DigestConfig) -> DigestServer {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        DigestServer::with_key(config, key, Instant::now())
    }

    /// A server with a given key, whose nonces count from `epoch`: for tests and for several processes with one key.
    pub fn with_key(config: DigestConfig, key: [u8; 32], epoch: Instant) -> DigestServer {
        DigestServer { config, key, epoch, used: Mutex::default() }
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.config.realm
    }

    fn mac(&self, stamp: &str, bound: &str) -> String {
        // HMAC-SHA-256 (RFC 2104), cut to 16 bytes.
        let pad = |x: u8| -> Vec<u8> {
            let mut block = [x; 64];
            block.iter_mut().zip(self.key).for_each(|(b, k)| *b ^= k);
            block.to_vec()
        };
        let inner =
            Sha256::new().chain_update(pad(0x36)).chain_update(stamp).chain_update("\0").chain_update(bound).finalize();
        let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
        hex::encode(outer.get(..16).unwrap_or_default())
    }

    fn bound(req: &Request) -> String {
        req.from().map(|f| f.uri.user().to_owned()).unwrap_or_default()
    }

    fn nonce(&self, now: Instant, bound: &str) -> String {
        let seconds = now.saturating_duration_since(self.epoch).as_secs() as u32;
        let stamp = format!("{seconds:08x}{:016x}", rand::rng().next_u64());
        format!("{stamp}{}", self.mac(&stamp, bound))
    }

    /// True when the nonce is ours, for this From, and not too old.
    fn fresh(&self, now: Instant, nonce: &str, bound: &str) -> bool {
        let (Some(stamp), Some(mac)) = (nonce.get(..24), nonce.get(24..)) else { return false };
        let Some(issued) = stamp.get(..8).and_then(|s| u32::from_str_radix(s, 16).ok()) else { return false };
        let seconds = now.saturating_duration_since(self.epoch).as_secs();
        let age = seconds.saturating_sub(u64::from(issued));
        u64::from(issued) <= seconds && age <= self.config.nonce_life.as_secs() && same(&self.mac(stamp, bound), mac)
    }

    /// Checks a request; `secret` gives what is known of a user name, `None` for an unknown one.
    pub fn verify(&self, req: &Request, secret: impl FnOnce(&str) -> Option<Secret>) -> AuthResult {
        self.verify_at(Instant::now(), req, secret)
    }

    /// As [`DigestServer::verify`] at a given time.
    pub fn verify_at(&self, now: Instant, req: &Request, secret: impl FnOnce(&str) -> Option<Secret>) -> AuthResult {
        const AGAIN: AuthResult = AuthResult::Challenge { stale: false };
        let Some(p) = authorization(req) else { return AGAIN };
        let (Some(user), Some(realm), Some(nonce), Some(uri), Some(given)) =
            (p.get("username"), p.get("realm"), p.get("nonce"), p.get("uri"), p.get("response"))
        else {
            return AGAIN;
        };
        let algorithm = Algorithm::parse(p.get("algorithm")).filter(|a| self.config.algorithms.contains(a));
        let Some(algorithm) = algorithm.filter(|_| realm == self.config.realm) else { return AGAIN };
        let count = match p.get("qop") {
            None => None,
            Some(q) if q.eq_ignore_ascii_case("auth") => {
                let (Some(nc), Some(cnonce)) = (p.get("nc"), p.get("cnonce")) else { return AGAIN };
                let Ok(number) = u32::from_str_radix(nc, 16) else { return AGAIN };
                Some((nc, cnonce, number))
            }
            Some(_) => return AGAIN,
        };
        let Some(ha1) = secret(user).and_then(|s| s.ha1(algorithm, user, realm)) else { return AuthResult::Denied };
        let expected = response(algorithm, &ha1, req.method.as_str(), uri, nonce, count.map(|(nc, c, _)| (nc, c)));
        if !same(&expected, given) {
            return AuthResult::Denied;
        }
        if !self.fresh(now, nonce, &Self::bound(req)) || !self.note_use(nonce, count.map_or(u32::MAX, |c| c.2)) {
            return AuthResult::Challenge { stale: true };
        }
        AuthResult::Ok
    }

    /// Notes that a nonce was used with this count; false when that count (or a higher one) was there before.
    fn note_use(&self, nonce: &str, count: u32) -> bool {
        let mut used = self.used.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(last) = used.last.get_mut(nonce) {
            let newer = count > *last;
            *last = (*last).max(count);
            return newer;
        }
        while used.last.len() >= self.config.max_nonces.max(1) {
            let Some(old) = used.order.pop_front() else { break };
            used.last.remove(&old);
        }
        used.last.insert(nonce.to_owned(), count);
        used.order.push_back(nonce.to_owned());
        true
    }

    /// The 401 to a request without credentials.
    pub fn challenge(&self, req: &Request) -> Response {
        self.challenge_with(req, 401, false)
    }

    /// A 401 (or 407) with fresh nonces, one challenge for each algorithm.
    pub fn challenge_with(&self, req: &Request, code: u16, stale: bool) -> Response {
        self.challenge_at(Instant::now(), req, code, stale)
    }

    /// As [`DigestServer::challenge_with`] at a given time.
    pub fn challenge_at(&self, now: Instant, req: &Request, code: u16, stale: bool) -> Response {
        let mut out = req.respond(code);
        let name = if code == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        for algorithm in &self.config.algorithms {
            let nonce = self.nonce(now, &Self::bound(req));
            let mut value = format!(
                "Digest realm={},nonce=\"{nonce}\",algorithm={}",
                text::quote(&self.config.realm),
                algorithm.as_str()
            );
            if self.config.qop {
                value.push_str(",qop=\"auth\"");
            }
            if stale {
                value.push_str(",stale=true");
            }
            out.headers.push(name, value);
        }
        out
    }
}

/// Answers 401 and 407 with one user's credentials. Clone it per peer: it remembers the nonce and its count.
#[derive(Clone)]
pub struct DigestClient {
    user: String,
    secret: Secret,
    last: Option<(String, u32)>,
}

impl std::fmt::Debug for DigestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestClient").field("user", &self.user).finish_non_exhaustive()
    }
}

impl DigestClient {
    /// Credentials of one user.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> DigestClient {
        DigestClient { user: user.into(), secret: Secret::Password(password.into()), last: None }
    }

    /// Puts the answer to `challenge` into `req`. The caller sends it with the same Call-ID and a CSeq one higher.
    /// [`SipError::Unauthorized`] when the same answer was refused already (no new nonce, not stale), or when no
    /// challenge can be answered.
    pub fn answer(&mut self, req: &mut Request, challenge: &Response) -> Result<(), SipError> {
        let cnonce = format!("{:016x}", rand::rng().next_u64());
        self.answer_with(req, challenge, &cnonce)
    }

    /// As [`DigestClient::answer`] with a given cnonce.
    pub fn answer_with(&mut self, req: &mut Request, challenge: &Response, cnonce: &str) -> Result<(), SipError> {
        let (asks, answers) = match challenge.code {
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => ("WWW-Authenticate", "Authorization"),
        };
        let known = |p: &DigestParams| {
            let secret_fits =
                |a| matches!(&self.secret, Secret::Password(_)) || matches!(&self.secret, Secret::Ha1(h, _) if *h == a);
            Algorithm::parse(p.get("algorithm")).filter(|a| secret_fits(*a))
        };
        let offers = challenge.headers.get_all(asks).filter_map(DigestParams::parse);
        let usable = offers.filter_map(|p| known(&p).map(|a| (a, p)));
        let (algorithm, p) = usable.max_by_key(|(a, _)| *a == Algorithm::Sha256).ok_or(SipError::Unauthorized)?;
        let (Some(realm), Some(nonce)) = (p.get("realm"), p.get("nonce")) else { return Err(SipError::Unauthorized) };
        let stale = p.get("stale").is_some_and(|s| s.eq_ignore_ascii_case("true"));
        let tried = req.headers.get(answers).and_then(DigestParams::parse);
        if tried.is_some_and(|t| t.get("nonce") == Some(nonce)) && !stale {
            return Err(SipError::Unauthorized);
        }
        let ha1 = self.secret.ha1(algorithm, &self.user, realm).ok_or(SipError::Unauthorized)?;
        let number = match &self.last {
            Some((n, c)) if n == nonce => c.saturating_add(1),
            _ => 1,
        };
        self.last = Some((nonce.to_owned(), number));
        let uri = req.uri.to_string();
        let nc = format!("{number:08x}");
        let auth = p.get("qop").is_some_and(|q| q.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
        let qop = auth.then_some((nc.as_str(), cnonce));
        let hash = response(algorithm, &ha1, req.method.as_str(), &uri, nonce, qop);
        let mut value = format!(
            "Digest username={},realm={},nonce={},uri={},response=\"{hash}\",algorithm={}",
            text::quote(&self.user),
            text::quote(realm),
            text::quote(nonce),
            text::quote(&uri),
            algorithm.as_str()
        );
        if qop.is_some() {
            value.push_str(&format!(",qop=auth,nc={nc},cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = p.get("opaque") {
            value.push_str(&format!(",opaque={}", text::quote(opaque)));
        }
        req.headers.set(answers, value);
        Ok(())
    }
}
