//! What an operator orders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::speech;

/// Most targets of one broadcast.
pub(crate) const MOST_TARGETS: usize = 500;

/// What is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A text of at most 1,000 characters, spoken by the speech engine.
    Text {
        text: String,
        /// A key of `broadcast.speech_voices`; none: Chinese where there is a Chinese character, else English.
        #[serde(default)]
        language: Option<String>,
        /// 60 to 400; none: as configured.
        #[serde(default)]
        words_per_minute: Option<u32>,
    },
    /// A sound that was uploaded.
    Sound { sound: String },
    /// The operator's own voice, by `POST /broadcasts/{id}/whip`.
    Live {},
}

/// Somebody who is to hear it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetName {
    /// A number (`8001`, or one that a trunk leads to), a channel with a loudspeaker (`gb28181:...`), or a radio group (`radio:...`).
    pub to: String,
    #[serde(default)]
    pub name: String,
}

/// A broadcast that is ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBroadcast {
    #[serde(default)]
    pub name: String,
    pub source: Source,
    /// 1 to 500; who is named twice is called once.
    pub targets: Vec<TargetName>,
    /// How often it is said, 1 to 10.
    #[serde(default = "once")]
    pub rounds: u32,
    /// Seconds between, 0 to 60.
    #[serde(default = "two")]
    pub pause: u32,
    /// Three tones before each time.
    #[serde(default = "yes")]
    pub chime: bool,
    /// Further tries of who was busy or did not answer, 0 to 10; none: as configured.
    #[serde(default)]
    pub retries: Option<u32>,
    /// Seconds before each, 1 to 600; none: as configured.
    #[serde(default)]
    pub retry_pause: Option<u32>,
}

fn once() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn yes() -> bool {
    true
}

fn word(s: &str, most: usize) -> bool {
    s.chars().count() <= most && !s.chars().any(char::is_control)
}

fn targets_problem(targets: &[TargetName]) -> Option<&'static str> {
    if !(1..=MOST_TARGETS).contains(&targets.len()) {
        return Some("give 1 to 500 targets");
    }
    let good = |t: &TargetName| !t.to.trim().is_empty() && word(&t.to, 128) && word(&t.name, 64);
    (!targets.iter().all(good))
        .then_some("a target is a number or channel of 1 to 128 characters and a name of up to 64")
}

impl Source {
    /// What is wrong with it, in English.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Source::Text { text, language, words_per_minute } => {
                let wpm = words_per_minute.is_none_or(|w| (60..=400).contains(&w));
                speech::problem(text)
                    .or((!wpm).then_some("words_per_minute is from 60 to 400"))
                    .or((!language.as_deref().is_none_or(|l| word(l, 8))).then_some("that is no language"))
            }
            Source::Sound { sound } => (!word(sound, 64)).then_some("that is no sound"),
            Source::Live {} => None,
        }
    }
}

impl NewBroadcast {
    /// What is wrong with it, in English.
    pub fn problem(&self) -> Option<&'static str> {
        let unless = |good: bool, why: &'static str| (!good).then_some(why);
        unless(word(&self.name, 64), "a name has up to 64 characters, on one line")
            .or(self.source.problem())
            .or(targets_problem(&self.targets))
            .or(unless((1..=10).contains(&self.rounds), "rounds is from 1 to 10"))
            .or(unless(self.pause <= 60, "pause is from 0 to 60"))
            .or(unless(self.retries.is_none_or(|r| r <= 10), "retries is from 0 to 10"))
            .or(unless(self.retry_pause.is_none_or(|p| (1..=600).contains(&p)), "retry_pause is from 1 to 600"))
    }

    /// Each target once.
    pub fn tidy(&mut self) {
        let mut seen = std::collections::HashSet::new();
        self.targets.iter_mut().for_each(|t| t.to = t.to.trim().to_owned());
        self.targets.retain(|t| seen.insert(t.to.clone()));
    }
}

/// A list of targets that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BroadcastList {
    pub name: String,
    /// 1 to 500.
    pub targets: Vec<TargetName>,
}

impl BroadcastList {
    /// What is wrong with it, in English.
    pub fn problem(&self) -> Option<&'static str> {
        let named = !self.name.trim().is_empty() && word(&self.name, 64);
        (!named).then_some("a name is 1 to 64 characters").or(targets_problem(&self.targets))
    }
}
