//! Which requests of the shared SIP endpoint belong to phones.

use sip::{Flow, Method, Request};

use crate::config::Config;

/// A GB/T 28181 id: 20 digits.
pub(crate) fn is_gb_id(user: &str) -> bool {
    user.len() == 20 && user.bytes().all(|b| b.is_ascii_digit())
}

/// The test for `sip::Service::claim`: REGISTER, OPTIONS, INVITE and MESSAGE of all who are no GB/T 28181 devices. Whether the account
/// and the number exist is asked after the caller proved who he is, so that a scanner learns nothing.
pub fn claims(_config: &Config) -> impl Fn(&Request, &Flow) -> bool + Send + Sync + 'static {
    |request, _flow| {
        let user = match request.method {
            Method::Register => request.to(),
            Method::Options | Method::Invite | Method::Message => request.from(),
            _ => return false,
        };
        !user.is_some_and(|a| is_gb_id(a.uri.user()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use sip::Message;

    use super::*;

    #[test]
    fn cameras_are_left_to_their_bridge() {
        let claim = claims(&Config::default());
        let flow = Flow {
            id: sip::FlowId(1),
            transport: sip::Transport::Udp,
            local: ([127, 0, 0, 1], 5060).into(),
            peer: ([127, 0, 0, 1], 5062).into(),
            profile: Default::default(),
        };
        for (method, user, ours) in [
            ("REGISTER", "8001", true),
            ("REGISTER", "34020000001320000001", false),
            ("INVITE", "8001", true),
            ("INVITE", "34020000002000000001", false),
            ("OPTIONS", "8001", true),
            ("MESSAGE", "8001", true),
            ("MESSAGE", "34020000001320000001", false),
            ("NOTIFY", "8001", false),
        ] {
            let text = format!(
                "{method} sip:600@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\nFrom: <sip:{user}@x>;tag=1\r\n\
                 To: <sip:{user}@x>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
            );
            let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(claim(&request, &flow), ours, "{method} {user}");
        }
    }
}
