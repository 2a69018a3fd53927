//! What went wrong, whose part it is, and whether trying again helps.

use serde::Serialize;
use serde::ser::SerializeStruct;

/// A sentence in both languages of the hall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    pub zh: String,
    pub en: String,
}

impl Text {
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Text { zh: zh.into(), en: en.into() }
    }
}

/// Who can mend a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The device or phone at the far end.
    Device,
    /// The network or platform between it and us.
    Peer,
    /// This gateway or its configuration.
    Us,
    /// The person or program that asked.
    You,
}

/// One stable reason with a sentence that a duty officer understands and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A word that never changes meaning, for programs and for the manual.
    pub code: &'static str,
    pub whose: Whose,
    /// Trying again later may help without anybody doing anything.
    pub retry: bool,
    pub zh: String,
    pub en: String,
    pub next_zh: String,
    pub next_en: String,
    /// What to check, one thing after the other; empty where the sentence above says all.
    pub steps: Steps,
}

/// Steps in Chinese and English.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps(pub &'static [(&'static str, &'static str)]);

/// What to check when a viewer cannot play what a source sends.
pub const VIEWER_LACKS_CODEC: Steps = Steps(&[
    (
        "换一个浏览器：新版 Edge、Chrome 在有硬件解码时能放 H.265",
        "Use another browser: recent Edge and Chrome play H.265 where the hardware decodes it",
    ),
    ("在设备上改用 H.264，或改用 H.264 的子码流", "Set H.264 in the device, or use a sub-stream in H.264"),
    ("录像不受影响：可以下载后播放", "Recordings are not touched: download and play them"),
]);

/// Beside its fields a fault carries `next`: its steps as a list of texts; without steps the one sentence of `next_zh`, `next_en`.
impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut next: Vec<Text> = self.steps.0.iter().map(|(zh, en)| Text::new(*zh, *en)).collect();
        if next.is_empty() && !self.next_en.is_empty() {
            next.push(Text::new(&self.next_zh, &self.next_en));
        }
        let mut out = serializer.serialize_struct("Fault", 8)?;
        out.serialize_field("code", self.code)?;
        out.serialize_field("whose", &self.whose)?;
        out.serialize_field("retry", &self.retry)?;
        out.serialize_field("zh", &self.zh)?;
        out.serialize_field("en", &self.en)?;
        out.serialize_field("next_zh", &self.next_zh)?;
        out.serialize_field("next_en", &self.next_en)?;
        out.serialize_field("next", &next)?;
        out.end()
    }
}

impl Fault {
    pub fn new(code: &'static str, whose: Whose, retry: bool, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Fault {
            code,
            whose,
            retry,
            zh: zh.into(),
            en: en.into(),
            next_zh: String::new(),
            next_en: String::new(),
            steps: Steps::default(),
        }
    }

    /// Adds what to check, one thing after the other.
    pub fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Adds what to do next.
    pub fn next(mut self, zh: impl Into<String>, en: impl Into<String>) -> Self {
        self.next_zh = zh.into();
        self.next_en = en.into();
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.en)
    }
}

impl std::error::Error for Fault {}
