//! Times in the API: RFC 3339 in UTC outside, milliseconds since 1970 inside.

use bridge_core::Timestamp;
use serde::Serializer;

use super::error::ApiError;

/// For `#[serde(serialize_with)]` on milliseconds.
pub fn rfc3339<S: Serializer>(milliseconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Timestamp(*milliseconds))
}

/// As [`rfc3339`] for what may be missing.
pub fn rfc3339_optional<S: Serializer>(milliseconds: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match milliseconds {
        Some(at) => serializer.collect_str(&Timestamp(*at)),
        None => serializer.serialize_none(),
    }
}

/// A time given in a query.
pub fn parse(text: &str) -> Result<i64, ApiError> {
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|t| t.as_millisecond())
        .map_err(|_| ApiError::invalid(&format!("{text:?} is not a time; write it as 2026-03-01T08:31:10Z")))
}

/// Like [`parse`] for a time that may be left out.
pub fn parse_optional(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    text.filter(|t| !t.is_empty()).map(parse).transpose()
}
