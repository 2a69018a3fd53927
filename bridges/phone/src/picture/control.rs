//! Key-frame requests by INFO (RFC 5168), for terminals that know no RTCP feedback.

use bytes::Bytes;
use sip::{Method, Request, Uri};

/// The media type of the body.
pub(crate) const MEDIA_CONTROL: &str = "application/media_control+xml";
/// Largest body that is looked at, in bytes.
const MAX_BODY: usize = 4096;

/// An INFO that asks the far end's encoder for a key frame.
pub(crate) fn request() -> Request {
    let mut request = Request::new(Method::Info, Uri::default());
    request.set_body(
        MEDIA_CONTROL,
        Bytes::from_static(
            b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<media_control><vc_primitive><to_encoder>\
              <picture_fast_update/></to_encoder></vc_primitive></media_control>\r\n",
        ),
    );
    request
}

/// Whether a body asks for a key frame. Only the element's name is looked for: all that any unit sends is this one order, in
/// XML of many shapes; comments and foreign text are not told apart, since a key frame too many does no harm.
pub(crate) fn asks_key_frame(content_type: &str, body: &[u8]) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim();
    let body = body.get(..body.len().min(MAX_BODY)).unwrap_or_default();
    let name = b"picture_fast_update";
    kind.eq_ignore_ascii_case(MEDIA_CONTROL) && body.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_we_send_is_what_we_read() {
        let request = request();
        let kind = request.content_type().unwrap().to_owned();
        assert!(asks_key_frame(&kind, &request.body));
        assert!(asks_key_frame("Application/Media_Control+XML; charset=utf-8", &request.body));
        assert!(!asks_key_frame("application/dtmf-relay", &request.body));
        assert!(!asks_key_frame(MEDIA_CONTROL, b"<media_control><general_error/></media_control>"));
        assert!(!asks_key_frame(MEDIA_CONTROL, b""));
        let mut late = vec![b' '; MAX_BODY];
        late.extend_from_slice(&request.body);
        assert!(!asks_key_frame(MEDIA_CONTROL, &late));
    }
}
