//! Trunks: the ways to other telephone networks, as they are shown to people.

use media_hub::Text;
use serde::Serialize;
use utoipa::ToSchema;

use crate::device::Timestamp;

/// How a trunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrunkState {
    /// Calls can go out.
    Up,
    /// No server answers, or the registration is refused.
    Down,
    /// Nothing is known yet since the start.
    Connecting,
}

/// One server of a trunk.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrunkServer {
    /// `address:port`.
    pub address: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// `up`, `down` or `unknown`.
    pub state: &'static str,
    /// Round trip of the last OPTIONS, in milliseconds.
    pub rtt_ms: Option<u32>,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrunkError {
    #[schema(value_type = String)]
    pub at: Timestamp,
    pub zh: String,
    pub en: String,
}

/// One trunk. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrunkStatus {
    pub name: String,
    pub state: TrunkState,
    /// Whether it is configured to register, and whether it is registered now.
    pub registering: bool,
    pub registered: bool,
    /// The state in words.
    pub zh: String,
    pub en: String,
    /// Since when it stands so.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// The server that is used first now, as `address:port/transport`.
    pub server: Option<String>,
    pub rtt_ms: Option<u32>,
    pub calls_in: usize,
    pub calls_out: usize,
    pub max_calls: usize,
    pub max_calls_in: usize,
    pub max_calls_out: usize,
    pub last_error: Option<TrunkError>,
    pub servers: Vec<TrunkServer>,
}

impl TrunkStatus {
    /// The state in both languages.
    pub fn words(&self) -> Text {
        Text::new(&self.zh, &self.en)
    }
}
