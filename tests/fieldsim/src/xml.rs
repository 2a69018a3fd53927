//! MANSCDP text: reading single elements, and the character sets.

use encoding_rs::GB18030;

/// Strict UTF-8 first, else GB18030 (reference section 3).
pub fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => GB18030.decode(bytes).0.into_owned(),
    }
}

pub fn encode(text: &str) -> Vec<u8> {
    GB18030.encode(text).0.into_owned()
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The trimmed text of the first element `name`, any case, at any depth.
pub fn element(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        rest = rest.get(open + 1..)?;
        let end = rest.find(['>', ' ', '/', '\r', '\n', '\t'])?;
        if rest.get(..end)?.eq_ignore_ascii_case(name) {
            let close = rest.find('>')?;
            if rest.get(..close)?.ends_with('/') {
                return Some(String::new());
            }
            let inner = rest.get(close + 1..)?;
            let until = inner.to_ascii_lowercase().find(&format!("</{}", name.to_ascii_lowercase()))?;
            return Some(inner.get(..until)?.trim().to_string());
        }
    }
    None
}

/// As [`element`], with entities resolved: for elements that hold text and no others.
pub fn text_of(text: &str, name: &str) -> Option<String> {
    let inner = element(text, name)?;
    Some(
        inner
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

/// The name of the root element.
pub fn root(text: &str) -> &str {
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        rest = rest.get(open + 1..).unwrap_or("");
        if !rest.starts_with(['?', '!']) {
            return rest.split(['>', ' ', '\r', '\n']).next().unwrap_or("");
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_any_case() {
        let text = "<?xml version=\"1.0\"?>\r\n<Query>\r\n<cmdtype> Catalog </cmdtype><SN>17</SN><Info/></Query>";
        assert_eq!(element(text, "CmdType").as_deref(), Some("Catalog"));
        assert_eq!(element(text, "Info").as_deref(), Some(""));
        assert_eq!((element(text, "DeviceID"), root(text)), (None, "Query"));
        assert_eq!(decode(&encode("北门球机")), "北门球机");
        assert_ne!(encode("北门球机"), "北门球机".as_bytes());
    }
}
