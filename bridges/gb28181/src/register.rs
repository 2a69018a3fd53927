//! Who may register, for how long, and what the answer says (GB/T 28181-2022 clause 9.1; reference section 4). No I/O and no
//! clock: a request, a time and what is known of the device go in, a decision comes out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip::{AuthResult, DigestConfig, DigestServer, Request, Response, Secret};

use crate::config::{Config, Quirk};
use crate::edition::{self, Edition};
use crate::guard::Guard;
use crate::ids;
use crate::quirks::Profile;

/// Time in which failures of a source are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// What becomes of a REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// On line for so many seconds.
    Accept { expires: u32 },
    /// 302: to a server of a rule of `gb28181.redirect`, both by their places in the list.
    Redirect { rule: usize, server: usize },
    /// `Expires: 0` of a device that proved who it is.
    Logout,
    /// 401.
    Challenge { stale: bool },
    /// 403: wrong password, or credentials of another.
    Denied,
    /// 403: there is neither a password for it nor leave to come without.
    NoPassword,
    /// 403 unseen: too many failures.
    Blocked,
    /// 423.
    TooBrief { least: u32 },
    /// 400.
    Bad,
    /// 503: the table is full.
    Full,
}

impl Decision {
    /// The label of the metric.
    pub fn outcome(&self) -> &'static str {
        match self {
            Decision::Accept { .. } => "accepted",
            Decision::Redirect { .. } => "redirected",
            Decision::Logout => "logout",
            Decision::Challenge { stale: false } => "challenged",
            Decision::Challenge { stale: true } => "stale_nonce",
            Decision::Denied => "denied",
            Decision::NoPassword => "no_password",
            Decision::Blocked => "blocked",
            Decision::TooBrief { .. } => "too_brief",
            Decision::Bad => "bad",
            Decision::Full => "full",
        }
    }
}

/// Decides on registrations.
#[derive(Debug)]
pub struct Registrar {
    digest: DigestServer,
    /// The same key and nonces, challenge without `qop`.
    digest_plain: DigestServer,
    guard: Guard,
}

/// The device that a REGISTER is about: the user of To (the address of record), else of From.
pub fn device_of(req: &Request) -> Option<String> {
    let to = req.to().map(|t| t.uri.user().to_owned()).filter(|u| ids::is_id(u));
    to.or_else(|| req.from().map(|f| f.uri.user().to_owned()).filter(|u| ids::is_id(u)))
}

/// The expiry asked for: of the Contact, else of the message.
fn asked_expiry(req: &Request) -> Option<u32> {
    let contact = req.contact().and_then(|c| c.param("expires").and_then(|e| e.trim().parse().ok()));
    contact.or_else(|| req.expires())
}

impl Registrar {
    pub fn new(config: &Config, now: Instant, key: [u8; 32]) -> Registrar {
        let digest = DigestConfig { qop: config.qop, ..DigestConfig::new(config.domain()) };
        let plain = DigestConfig { qop: false, ..DigestConfig::new(config.domain()) };
        Registrar {
            digest: DigestServer::with_key(digest, key, now),
            digest_plain: DigestServer::with_key(plain, key, now),
            guard: Guard::new(WINDOW, config.failures_per_device, config.failures_per_address),
        }
    }

    /// Decides on one request. `own`: the device's own secret. Room: whether a further device may come in.
    pub fn decide(
        &mut self,
        now: Instant,
        req: &Request,
        source: IpAddr,
        config: &Config,
        own: Option<Secret>,
        room: bool,
    ) -> Decision {
        let Some(id) = device_of(req) else { return Decision::Bad };
        if self.guard.blocked(now, source, &id) {
            return Decision::Blocked;
        }
        let secret = match (own, &config.site_password) {
            (Some(own), _) => Some(own),
            (None, _) if config.allow_without_password => None,
            (None, Some(site)) => Some(Secret::Password(site.clone())),
            (None, None) => return Decision::NoPassword,
        };
        if let Some(secret) = secret {
            let user = config.device(&id).and_then(|d| d.user.as_deref()).unwrap_or(&id);
            // The credentials must be this device's: one that knows its own password must not register as another.
            let verdict = self.digest.verify_at(now, req, |name| (name == user).then_some(secret));
            match verdict {
                AuthResult::Ok => self.guard.succeeded(source, &id),
                AuthResult::Challenge { stale } => return Decision::Challenge { stale },
                AuthResult::Denied => {
                    self.guard.failed(now, source, &id);
                    return Decision::Denied;
                }
            }
        }
        match asked_expiry(req) {
            Some(0) => Decision::Logout,
            Some(n) if n < config.expires_min => Decision::TooBrief { least: config.expires_min },
            _ if !room => Decision::Full,
            Some(n) => Decision::Accept { expires: n.min(config.expires_max) },
            None => Decision::Accept { expires: config.expires_default },
        }
    }

    /// The answer to a device of which only the configuration is known.
    pub fn answer(&self, req: &Request, decision: Decision, config: &Config, wall: jiff::Timestamp) -> Response {
        let profile = Profile::of_config(config, &device_of(req).unwrap_or_default());
        self.answer_to(req, decision, config, wall, &profile)
    }

    /// The answer. `X-GB-Ver` is echoed, at most with our own edition, and only to devices that send it.
    pub fn answer_to(
        &self,
        req: &Request,
        decision: Decision,
        config: &Config,
        wall: jiff::Timestamp,
        profile: &Profile,
    ) -> Response {
        let mut out = match decision {
            Decision::Accept { expires } => {
                let mut out = req.respond(200).with("Expires", expires.to_string());
                if let Some(contact) = req.contact() {
                    out.headers.set("Contact", format!("<{}>;expires={expires}", contact.uri));
                }
                if config.send_date && !profile.has(Quirk::NoDate) {
                    out.headers.set("Date", edition::date(wall));
                }
                out
            }
            Decision::Redirect { rule, server } => {
                let found = config.redirect.get(rule).and_then(|r| Some((r.to.get(server)?, r.expires)));
                match found {
                    Some((to, expires)) => {
                        req.respond(302).with("Contact", to.contact()).with("Expires", expires.to_string())
                    }
                    None => req.respond(500),
                }
            }
            Decision::Logout => req.respond(200).with("Expires", "0"),
            Decision::Challenge { stale } => {
                let digest = if profile.has(Quirk::NoQop) { &self.digest_plain } else { &self.digest };
                digest.challenge_with(req, 401, stale)
            }
            Decision::Denied | Decision::NoPassword | Decision::Blocked => req.respond(403),
            Decision::TooBrief { least } => req.respond(423).with("Min-Expires", least.to_string()),
            Decision::Bad => req.respond(400),
            Decision::Full => req.respond(503).with("Retry-After", "60"),
        };
        if let Some(theirs) = req.headers.get("X-GB-Ver").and_then(Edition::parse) {
            out.headers.set("X-GB-Ver", theirs.min(Edition::V2022).header());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sip::DigestClient;

    const ID: &str = "34020000001320000001";
    const PASSWORD: &str = "Gate#2026";

    fn register(expires: u32) -> Request {
        let text = format!(
            "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP 10.20.0.15:5060;rport;branch=z9hG4bK7a01\r\n\
             From: <sip:{ID}@3402000000>;tag=d1\r\nTo: <sip:{ID}@3402000000>\r\nCall-ID: reg-55aa@10.20.0.15\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:{ID}@10.20.0.15:5060>\r\nX-GB-Ver: 3.0\r\nMax-Forwards: 70\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n"
        );
        match sip::Message::parse(text.as_bytes()) {
            Ok(sip::Message::Request(r)) => r,
            other => unreachable!("{other:?}"),
        }
    }

    struct Field {
        config: Config,
        registrar: Registrar,
        now: Instant,
    }

    impl Field {
        fn new(change: impl FnOnce(&mut Config)) -> Field {
            let mut config = Config { site_password: Some(PASSWORD.into()), ..Config::default() };
            change(&mut config);
            let now = Instant::now();
            Field { registrar: Registrar::new(&config, now, [7; 32]), config, now }
        }

        fn ask(&mut self, req: &Request, own: Option<&str>) -> Decision {
            let own = own.map(|p| Secret::Password(p.into()));
            self.registrar.decide(self.now, req, IpAddr::from([10, 0, 0, 1]), &self.config, own, true)
        }

        /// As a device does it: without credentials first.
        fn with(&mut self, req: Request, user: &str, password: &str, own: Option<&str>) -> (Request, Decision) {
            let first = self.ask(&req, own);
            assert_eq!(first, Decision::Challenge { stale: false });
            let challenge = self.registrar.answer(&req, first, &self.config, jiff::Timestamp::UNIX_EPOCH);
            let mut again = req;
            DigestClient::new(user, password).answer(&mut again, &challenge).unwrap();
            let decision = self.ask(&again, own);
            (again, decision)
        }
    }

    #[test]
    fn with_digest_both_with_and_without_qop() {
        for quirk in [false, true] {
            let mut f = Field::new(|c| {
                if quirk {
                    c.devices.entry(ID.into()).or_default().quirks.push(Quirk::NoQop);
                }
            });
            let (req, decision) = f.with(register(86_400), ID, PASSWORD, None);
            assert_eq!(decision, Decision::Accept { expires: 86_400 });
            assert_eq!(req.headers.get("Authorization").unwrap().contains("qop"), !quirk);
            let ok = f.registrar.answer(&req, decision, &f.config, "2026-03-01T00:30:00Z".parse().unwrap());
            assert_eq!(ok.code, 200);
            assert_eq!(ok.headers.get("Date"), Some("2026-03-01T08:30:00.000"));
            assert_eq!(ok.headers.get("X-GB-Ver"), Some("3.0"));
            assert_eq!(ok.headers.get("Expires"), Some("86400"));
        }
    }

    #[test]
    fn own_password_goes_before_the_sites_and_names_are_bound() {
        let mut f = Field::new(|_| ());
        assert_eq!(f.with(register(3600), ID, "own", Some("own")).1, Decision::Accept { expires: 3600 });
        assert_eq!(f.with(register(3600), ID, PASSWORD, Some("own")).1, Decision::Denied);
        assert_eq!(f.with(register(3600), "34020000001320000002", PASSWORD, None).1, Decision::Denied);
        f.config.devices.entry(ID.into()).or_default().user = Some("gate".into());
        assert_eq!(f.with(register(3600), "gate", PASSWORD, None).1, Decision::Accept { expires: 3600 });
    }

    #[test]
    fn without_any_password_only_by_leave() {
        let mut f = Field::new(|c| c.site_password = None);
        assert_eq!(f.ask(&register(3600), None), Decision::NoPassword);
        f.config.allow_without_password = true;
        assert_eq!(f.ask(&register(3600), None), Decision::Accept { expires: 3600 });
        assert_eq!(f.ask(&register(3600), Some("own")), Decision::Challenge { stale: false });
    }

    #[test]
    fn an_old_nonce_is_stale_and_a_used_one_too() {
        let mut f = Field::new(|c| c.qop = false);
        let (req, decision) = f.with(register(3600), ID, PASSWORD, None);
        assert_eq!(decision, Decision::Accept { expires: 3600 });
        let again = f.ask(&req, None);
        assert_eq!(again, Decision::Challenge { stale: true });
        let answer = f.registrar.answer(&req, again, &f.config, jiff::Timestamp::UNIX_EPOCH);
        assert!(answer.headers.get("WWW-Authenticate").unwrap().contains("stale=true"));
        f.now += Duration::from_secs(301);
        assert_eq!(f.ask(&req, None), Decision::Challenge { stale: true });
    }

    #[test]
    fn expiry_bounds_logout_and_a_full_table() {
        let mut f = Field::new(|c| {
            c.allow_without_password = true;
            c.expires_min = 3600;
        });
        assert_eq!(f.ask(&register(60), None), Decision::TooBrief { least: 3600 });
        assert_eq!(f.ask(&register(1_000_000), None), Decision::Accept { expires: 86_400 });
        assert_eq!(f.ask(&register(0), None), Decision::Logout);
        let full = f.registrar.decide(f.now, &register(3600), IpAddr::from([1, 1, 1, 1]), &f.config, None, false);
        assert_eq!(full, Decision::Full);
        let mut none = register(1);
        none.headers.remove("Expires");
        assert_eq!(f.ask(&none, None), Decision::Accept { expires: 3600 });
        none.headers.set("Contact", format!("<sip:{ID}@10.20.0.15>;expires=7200"));
        assert_eq!(f.ask(&none, None), Decision::Accept { expires: 7200 });
    }

    #[test]
    fn a_redirect_names_the_server_and_how_long_it_holds() {
        let text = "[[redirect]]\nids = '*'\nexpires = 7200\nto = [{ server_id = '34020000002000000009', address = '10.0.0.5:5070' }]";
        let config: Config = toml::from_str(text).unwrap();
        let f = Field::new(|c| c.redirect = config.redirect);
        let decision = Decision::Redirect { rule: 0, server: 0 };
        let answer = f.registrar.answer(&register(3600), decision, &f.config, jiff::Timestamp::UNIX_EPOCH);
        let head = |name| answer.headers.get(name);
        assert_eq!((answer.code, head("Contact")), (302, Some("<sip:34020000002000000009@10.0.0.5:5070>")));
        assert_eq!((head("Expires"), head("X-GB-Ver"), head("Date")), (Some("7200"), Some("3.0"), None));
    }

    #[test]
    fn guessing_is_stopped() {
        let mut f = Field::new(|c| c.failures_per_device = 3);
        for _ in 0..3 {
            assert_eq!(f.with(register(3600), ID, "guess", None).1, Decision::Denied);
        }
        assert_eq!(f.ask(&register(3600), None), Decision::Blocked);
        f.now += Duration::from_secs(61);
        assert_eq!(f.with(register(3600), ID, PASSWORD, None).1, Decision::Accept { expires: 3600 });
    }
}
