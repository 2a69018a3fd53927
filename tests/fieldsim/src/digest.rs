//! Digest credentials (RFC 2617 with MD5, with and without qop=auth).

use md5::{Digest, Md5};

/// A challenge as the server sent it.
#[derive(Debug, Clone, Default)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub qop: bool,
    /// True for Proxy-Authenticate.
    pub proxy: bool,
    pub count: u32,
}

fn md5_hex(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// Splits `a=b, c="d, e"` into pairs.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let (mut current, mut quoted) = (String::new(), false);
    for c in text.chars().chain([',']) {
        if c == '"' {
            quoted = !quoted;
        }
        if c == ',' && !quoted {
            if let Some((name, value)) = current.split_once('=') {
                out.push((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_string()));
            }
            current.clear();
        } else {
            current.push(c);
        }
    }
    out
}

impl Challenge {
    /// Reads a WWW-Authenticate or Proxy-Authenticate value; `None` when it is not Digest with MD5.
    pub fn parse(value: &str, proxy: bool) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut out = Challenge { proxy, ..Challenge::default() };
        for (name, value) in pairs(rest) {
            match name.as_str() {
                "realm" => out.realm = value,
                "nonce" => out.nonce = value,
                "opaque" => out.opaque = Some(value),
                "qop" => out.qop = value.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")),
                "algorithm" if !value.eq_ignore_ascii_case("md5") => return None,
                _ => {}
            }
        }
        Some(out)
    }

    /// Header name and value answering this challenge.
    pub fn answer(&mut self, method: &str, uri: &str, user: &str, password: &str) -> (&'static str, String) {
        self.count += 1;
        let cnonce = format!("{:08x}", rand::random::<u32>());
        let mut value = format!(
            "Digest username=\"{user}\",realm=\"{}\",nonce=\"{}\",uri=\"{uri}\",response=\"{}\",algorithm=MD5",
            self.realm,
            self.nonce,
            self.response(method, uri, user, password, &cnonce)
        );
        if self.qop {
            value.push_str(&format!(",qop=auth,nc={:08x},cnonce=\"{cnonce}\"", self.count));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(",opaque=\"{opaque}\""));
        }
        (if self.proxy { "Proxy-Authorization" } else { "Authorization" }, value)
    }

    fn response(&self, method: &str, uri: &str, user: &str, password: &str, cnonce: &str) -> String {
        let ha1 = md5_hex(&format!("{user}:{}:{password}", self.realm));
        let ha2 = md5_hex(&format!("{method}:{uri}"));
        if self.qop {
            md5_hex(&format!("{ha1}:{}:{:08x}:{cnonce}:auth:{ha2}", self.nonce, self.count))
        } else {
            md5_hex(&format!("{ha1}:{}:{ha2}", self.nonce))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_of_the_reference() {
        let mut c = Challenge::parse(
            "Digest realm=\"3402000000\",nonce=\"9a3f5c1d7e8b4a60b2c4d6e8f0a1b3c5\",algorithm=MD5",
            false,
        )
        .unwrap();
        let uri = "sip:34020000002000000001@3402000000";
        let user = "34020000001320000001";
        assert_eq!(c.response("REGISTER", uri, user, "Gate#2026", ""), "5a4203a15b8cccbff50f8aad132b96e9");
        c.qop = true;
        c.count = 1;
        assert_eq!(c.response("REGISTER", uri, user, "Gate#2026", "0a4f113b"), "830a9a24183e9880bc33746bc7b73ab0");
    }
}
