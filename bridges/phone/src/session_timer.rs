//! The session timer (RFC 4028), as far as a gateway needs it: accept what the phone wants, refresh when it is our part,
//! end the call when it is the phone's and it does not.

use std::time::{Duration, Instant};

use sip::{Headers, Request};

/// The floor of RFC 4028 4.
pub(crate) const MIN_SE: u32 = 90;
/// What RFC 4028 recommends.
const OWN: Duration = Duration::from_secs(1800);
/// To the next try after a refresh that was refused for the moment.
const LATER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    interval: Duration,
    /// We refresh; else the phone does.
    ours: bool,
    last: Instant,
    sent: bool,
    /// Not tried again before.
    not_before: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Refresh,
    Expired,
}

/// The phone asks for less than the floor: answer 422 with Min-SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSmall;

fn session_expires(headers: &Headers) -> Option<(u32, Option<bool>)> {
    let value = headers.get("Session-Expires")?;
    let mut parts = value.split(';').map(str::trim);
    let seconds = parts.next()?.parse().ok()?;
    let uac = parts.find_map(|p| p.strip_prefix("refresher=")).map(|r| r.eq_ignore_ascii_case("uac"));
    Some((seconds, uac))
}

impl SessionTimer {
    /// From an INVITE, re-INVITE or UPDATE of the phone.
    pub fn of_request(request: &Request, now: Instant) -> Result<Option<SessionTimer>, TooSmall> {
        let Some((seconds, uac)) = session_expires(&request.headers) else { return Ok(None) };
        let supports = request.headers.tokens("Supported").any(|t| t.eq_ignore_ascii_case("timer"));
        if seconds < MIN_SE {
            return Err(TooSmall);
        }
        // Without its support only we can refresh (RFC 4028 9).
        let ours = !supports || uac == Some(false);
        Ok(Some(SessionTimer {
            interval: Duration::from_secs(u64::from(seconds)),
            ours,
            last: now,
            sent: false,
            not_before: None,
        }))
    }

    /// For a leg whose phone asked for none: we refresh, and so learn of a phone that has gone (RFC 4028 7.2).
    pub fn own(now: Instant) -> SessionTimer {
        SessionTimer { interval: OWN, ours: true, last: now, sent: false, not_before: None }
    }

    /// From the 2xx to a request of ours.
    pub fn of_response(headers: &Headers, now: Instant) -> Option<SessionTimer> {
        let (seconds, uac) = session_expires(headers)?;
        let interval = Duration::from_secs(u64::from(seconds.max(MIN_SE)));
        Some(SessionTimer { interval, ours: uac != Some(false), last: now, sent: false, not_before: None })
    }

    /// What our 2xx to the phone's request says.
    pub fn answer(&self, extra: &mut Headers) {
        let who = if self.ours { "uas" } else { "uac" };
        extra.push("Session-Expires", format!("{};refresher={who}", self.interval.as_secs()));
        if !self.ours {
            extra.push("Require", "timer");
        }
        extra.push("Supported", "timer");
    }

    /// What a request of ours says: who refreshed goes on doing so.
    pub fn request(&self, headers: &mut Headers) {
        let who = if self.ours { "uac" } else { "uas" };
        headers.push("Session-Expires", format!("{};refresher={who}", self.interval.as_secs()));
        headers.push("Supported", "timer");
    }

    pub fn refreshed(&mut self, now: Instant) {
        self.last = now;
        self.sent = false;
        self.not_before = None;
    }

    /// As the 2xx to a request of ours says; without a word of it the timer goes on as it was.
    pub fn answered(&mut self, headers: &Headers, now: Instant) {
        match SessionTimer::of_response(headers, now) {
            Some(new) => *self = new,
            None => self.refreshed(now),
        }
    }

    /// The phone is there and could not take the refresh: again in a while.
    pub fn later(&mut self, now: Instant) {
        self.sent = false;
        self.not_before = Some(now + LATER);
    }

    /// The refresh could not be sent now: it is due again at once.
    pub fn again(&mut self) {
        self.sent = false;
    }

    pub fn due(&mut self, now: Instant) -> Due {
        let since = now.saturating_duration_since(self.last);
        if self.ours {
            let held = self.not_before.is_some_and(|t| now < t);
            if since >= self.interval / 2 && !self.sent && !held {
                self.sent = true;
                return Due::Refresh;
            }
            return if since >= self.interval { Due::Expired } else { Due::Nothing };
        }
        let end = self.interval - Duration::from_secs(32).min(self.interval / 3);
        if since >= end { Due::Expired } else { Due::Nothing }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn timer(expires: &str, supported: bool) -> Result<Option<SessionTimer>, TooSmall> {
        let mut r = Request::new(sip::Method::Invite, sip::Uri::sip("1", "h", None));
        r.headers.push("Session-Expires", expires);
        if supported {
            r.headers.push("Supported", "100rel, timer");
        }
        SessionTimer::of_request(&r, Instant::now())
    }

    #[test]
    fn roles_and_times() {
        assert_eq!(timer("60", true), Err(TooSmall));
        let mut theirs = timer("90;refresher=uac", true).unwrap().unwrap();
        let t = theirs.last;
        assert_eq!(theirs.due(t + Duration::from_secs(59)), Due::Nothing);
        assert_eq!(theirs.due(t + Duration::from_secs(60)), Due::Expired);
        let mut ours = timer("1800;refresher=uas", true).unwrap().unwrap();
        let t = ours.last;
        assert_eq!(ours.due(t + Duration::from_secs(900)), Due::Refresh);
        assert_eq!(ours.due(t + Duration::from_secs(901)), Due::Nothing);
        ours.refreshed(t + Duration::from_secs(901));
        assert_eq!(ours.due(t + Duration::from_secs(1801)), Due::Refresh);
        assert!(timer("1800", false).unwrap().unwrap().ours);
        // Refused for the moment: again after 10 s, not at each look.
        let mut ours = SessionTimer::own(t);
        assert_eq!(ours.due(t + Duration::from_secs(900)), Due::Refresh);
        ours.later(t + Duration::from_secs(901));
        assert_eq!(ours.due(t + Duration::from_secs(905)), Due::Nothing);
        assert_eq!(ours.due(t + Duration::from_secs(911)), Due::Refresh);
        // A phone that refreshes goes on doing so after a request of ours, if it says so.
        let mut headers = Headers::new();
        theirs.request(&mut headers);
        assert_eq!(headers.get("Session-Expires"), Some("90;refresher=uas"));
        let mut said = Headers::new();
        said.push("Session-Expires", "90;refresher=uac");
        theirs.answered(&said, t);
        assert!(theirs.ours, "its 200 gave the part to us");
    }
}
