//! The section `phone.siprec` of the configuration.

use bridge_core::CallParty;
use serde::{Deserialize, Serialize};
use sip::{Transport, Uri};

const MOST_ACCOUNTS: usize = 10_000;

/// An outside recorder, and whose calls it gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiprecConfig {
    /// `sip:name@host:port`, with `;transport=tcp` or `tls` if wanted. Empty: no call is copied.
    pub recorder: String,
    /// Accounts and outside numbers whose calls are copied, as caller or called; `80*`: all that begin so.
    pub accounts: Vec<String>,
    /// The copies go there as SRTP, with keys in our description (RFC 4568); to `sips:` always. Without TLS the keys can be read on the way.
    pub srtp: bool,
    /// Seconds until a recorder that did not take a call, or lost it, is tried again.
    pub retry: u32,
    /// Seconds between two questions to the recorder in each call, whether it is still there; 0: none.
    pub check: u32,
}

impl Default for SiprecConfig {
    fn default() -> Self {
        SiprecConfig { recorder: String::new(), accounts: vec!["*".to_owned()], srtp: false, retry: 10, check: 30 }
    }
}

/// How the recorder is spoken to; none when that is unknown. Without a word of it DNS says so.
pub(super) fn transport(uri: &Uri) -> Option<Option<Transport>> {
    if uri.scheme.eq_ignore_ascii_case("sips") {
        return Some(Some(Transport::Tls));
    }
    match uri.param("transport").map(str::to_ascii_lowercase).as_deref() {
        None => Some(None),
        Some("udp") => Some(Some(Transport::Udp)),
        Some("tcp") => Some(Some(Transport::Tcp)),
        Some("tls") => Some(Some(Transport::Tls)),
        Some(_) => None,
    }
}

impl SiprecConfig {
    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let mut want = |good: bool, key: &'static str, why: &str| {
            if !good {
                out.push((key, why.to_owned()));
            }
        };
        let known = |uri: Uri| uri.is_sip() && !uri.host.is_empty() && transport(&uri).is_some();
        want(
            self.recorder.is_empty() || self.recorder.parse().is_ok_and(known),
            "siprec.recorder",
            "must be as sip:recorder@10.0.0.9:5060, with ;transport=tcp or ;transport=tls if wanted",
        );
        want(self.accounts.len() <= MOST_ACCOUNTS, "siprec.accounts", "at most 10000");
        want((1..=3600).contains(&self.retry), "siprec.retry", "must be from 1 to 3600");
        want(self.check <= 3600, "siprec.check", "must be 0 (never) or up to 3600");
        out
    }

    /// Whether what goes to this recorder is protected.
    pub(super) fn protects(&self, recorder: &Uri) -> bool {
        self.srtp || recorder.scheme.eq_ignore_ascii_case("sips")
    }

    /// Whether calls are copied at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.recorder.is_empty()
    }

    /// Whether a call of these two is.
    pub(crate) fn wants(&self, parties: [&CallParty; 2]) -> bool {
        let fits = |pattern: &str, number: &str| match pattern.strip_suffix('*') {
            Some(begin) => number.starts_with(begin),
            None => pattern == number,
        };
        self.is_on() && self.accounts.iter().any(|a| parties.iter().any(|party| fits(a, &party.number)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn who_is_recorded_and_where() {
        let (a, b) = (CallParty::new("8001", "A"), CallParty::new("8002", "B"));
        let config = |recorder: &str, accounts: &[&str]| SiprecConfig {
            recorder: recorder.to_owned(),
            accounts: accounts.iter().map(|a| (*a).to_owned()).collect(),
            ..SiprecConfig::default()
        };
        assert!(!SiprecConfig::default().wants([&a, &b]) && SiprecConfig::default().problems().is_empty());
        for accounts in ["*", "8002", "80*"] {
            assert!(config("sip:r@10.0.0.9", &[accounts]).wants([&a, &b]), "{accounts}");
        }
        assert!(!config("sip:r@10.0.0.9", &["8003", "81*"]).wants([&a, &b]));
        for good in ["sip:r@recorder.example", "sips:r@recorder.example", "sip:r@10.0.0.9:5080;transport=tcp"] {
            assert_eq!(config(good, &[]).problems(), [], "{good}");
        }
        for bad in ["10.0.0.9", "tel:+8610", "sip:r@10.0.0.9;transport=ws", "sip:"] {
            assert_eq!(config(bad, &[]).problems().len(), 1, "{bad}");
        }
        let protects = |config: SiprecConfig| config.protects(&config.recorder.parse().unwrap());
        assert!(protects(config("sips:r@10.0.0.9", &[])) && !protects(config("sip:r@10.0.0.9;transport=tls", &[])));
        assert!(protects(SiprecConfig { srtp: true, ..config("sip:r@10.0.0.9", &[]) }));
        let keys = SiprecConfig { retry: 0, check: 9000, ..SiprecConfig::default() }.problems();
        assert_eq!(keys.iter().map(|p| p.0).collect::<Vec<_>>(), ["siprec.retry", "siprec.check"]);
    }
}
