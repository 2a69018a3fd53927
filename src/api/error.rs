//! One form for every error of the API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use media_hub::{Fault, Whose};
use serde_json::json;

use crate::conference::ConferenceError;
use crate::scenes::SceneError;
use crate::store::StoreError;

/// An error with its HTTP status: what went wrong, whose part it is, whether trying again helps.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    whose: Whose,
    retry: bool,
    zh: String,
    en: String,
    retry_after: Option<u64>,
    /// A field beside `error`.
    more: Option<(&'static str, serde_json::Value)>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, whose: Whose, zh: &str, en: &str) -> Self {
        ApiError {
            status,
            code,
            whose,
            retry: false,
            zh: zh.to_owned(),
            en: en.to_owned(),
            retry_after: None,
            more: None,
        }
    }

    pub fn invalid(en: &str) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid", Whose::You, &format!("请求有误：{en}"), en)
    }

    pub fn not_found(what: &str) -> Self {
        let (zh, en) = (format!("没有 {what}"), format!("there is no {what}"));
        ApiError::new(StatusCode::NOT_FOUND, "not_found", Whose::You, &zh, &en)
    }

    pub fn conflict(code: &'static str, zh: &str, en: &str) -> Self {
        ApiError::new(StatusCode::CONFLICT, code, Whose::You, zh, en)
    }

    pub fn forbidden() -> Self {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            Whose::You,
            "当前账号没有此权限",
            "this account may not do that",
        )
    }

    /// What this asker may not do, with its own words.
    pub fn forbidden_because(code: &'static str, zh: &str, en: &str) -> Self {
        ApiError::new(StatusCode::FORBIDDEN, code, Whose::You, zh, en)
    }

    pub fn unauthorized() -> Self {
        ApiError::new(StatusCode::UNAUTHORIZED, "sign_in", Whose::You, "请先登录", "sign in first")
    }

    pub fn locked(seconds: u64) -> Self {
        let mut error = ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            Whose::You,
            &format!("尝试次数过多，请 {seconds} 秒后再试"),
            &format!("too many attempts; wait {seconds} s"),
        );
        error.retry = true;
        error.retry_after = Some(seconds);
        error
    }

    /// Something of ours failed; the cause goes to the log, not to the asker.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        let mut error = ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            Whose::Us,
            "网关内部错误，已记入日志",
            "the gateway failed; the log says why",
        );
        error.retry = true;
        error
    }

    /// An order that a device or phone did not carry out.
    pub fn of_fault(fault: &Fault) -> Self {
        let status = match fault.whose {
            Whose::You => StatusCode::BAD_REQUEST,
            Whose::Us => StatusCode::SERVICE_UNAVAILABLE,
            Whose::Device | Whose::Peer => StatusCode::BAD_GATEWAY,
        };
        ApiError {
            status,
            code: fault.code,
            whose: fault.whose,
            retry: fault.retry,
            zh: fault.zh.clone(),
            en: fault.en.clone(),
            retry_after: None,
            more: None,
        }
    }

    /// With another status than the fault's owner gives it.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// It may be tried again after so many seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry = true;
        self.retry_after = Some(seconds);
        self
    }

    /// With a field beside `error`.
    pub fn with(mut self, key: &'static str, value: serde_json::Value) -> Self {
        self.more = Some((key, value));
        self
    }

    /// The words for a log.
    pub fn en(&self) -> &str {
        &self.en
    }

    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": {
            "code": self.code, "whose": self.whose, "retry": self.retry, "zh": self.zh, "en": self.en, "where": "",
        }});
        if let (Some((key, value)), Some(body)) = (self.more, body.as_object_mut()) {
            body.insert(key.to_owned(), value);
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        ApiError::internal(&error)
    }
}

impl From<SceneError> for ApiError {
    fn from(error: SceneError) -> Self {
        let en = error.to_string();
        match error {
            SceneError::NoWall(id) => ApiError::not_found(&format!("wall {id}")),
            SceneError::NoTile(n) => ApiError::not_found(&format!("tile {n}")),
            SceneError::NoSource(id) => ApiError::not_found(&format!("stream {id}")),
            SceneError::Layout(_) => ApiError::invalid(&en),
            SceneError::NothingToUndo => ApiError::conflict("nothing_to_undo", "没有可撤销的操作", &en),
        }
    }
}

impl From<ConferenceError> for ApiError {
    fn from(error: ConferenceError) -> Self {
        let en = error.to_string();
        match error {
            ConferenceError::NoConference(id) => ApiError::not_found(&format!("conference {id}")),
            ConferenceError::NoMember(id) => ApiError::not_found(&format!("member {id}")),
            ConferenceError::NoSource(id) => ApiError::not_found(&format!("stream {id}")),
            ConferenceError::NumberTaken(_) => ApiError::conflict("number_taken", "会议号已被占用", &en),
            ConferenceError::NoFloor => {
                ApiError::conflict("no_floor", "该会议可同时发言，或成员未接通，无需申请话权", &en)
            }
            ConferenceError::NoPatch(id) => ApiError::not_found(&format!("patch {id}")),
            ConferenceError::PatchRing => {
                ApiError::conflict("patch_ring", "这两个会商已经（直接或间接）互联，再连会形成回路", &en)
            }
            ConferenceError::LobbyFull => ApiError::conflict("lobby_full", "等候室已满", &en),
            ConferenceError::Full(_) => ApiError::conflict("conference_full", "会议已满", &en),
            ConferenceError::Invalid(_) => ApiError::invalid(&en),
            ConferenceError::MutedByOperator => ApiError::new(
                StatusCode::FORBIDDEN,
                "muted_by_operator",
                Whose::You,
                "操作员已将您静音，请操作员取消",
                "an operator muted you; ask an operator to unmute you",
            ),
            ConferenceError::Store(e) => e.into(),
            ConferenceError::Publish(e) => ApiError::internal(&e),
        }
    }
}

/// Gives the words in which the HTTP library refused a request (unreadable JSON, a body too large, a wrong method) the form of
/// every other error.
pub async fn in_one_form(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let plain = kind.is_empty() || kind.starts_with("text/plain");
    if !(status.is_client_error() && plain) {
        return response;
    }
    let words = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let (code, words) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("wrong_method", "this route does not know the method".to_owned()),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large".to_owned()),
        _ => ("invalid", words),
    };
    ApiError::new(status, code, Whose::You, &format!("请求有误：{words}"), &words).into_response()
}

/// Paths below `/api` that are no routes.
pub async fn no_route() -> ApiError {
    ApiError::not_found("such route")
}
