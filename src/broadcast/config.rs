//! The section `broadcast` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings of emergency broadcasts. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broadcast {
    /// The speech engine: reads a text in UTF-8 from its standard input and writes WAV to its standard output. `{voice}` and
    /// `{words_per_minute}` are replaced. Empty: no texts.
    pub speech_command: Vec<String>,
    /// The engine's voice of each language.
    pub speech_voices: BTreeMap<String, String>,
    pub words_per_minute: u32,
    /// Caller number that phones see, whose toll rules hold (as that of a conference); empty: `hall.conference_number`.
    pub number: String,
    pub name: String,
    /// Targets that are called and spoken to at once, over all broadcasts.
    pub at_once: usize,
    /// Time for an answer.
    pub answer: u32,
    /// Further tries of who was busy or did not answer, and the pause before each.
    pub retries: u32,
    pub retry_pause: u32,
    /// 0: for ever.
    pub keep_days: u32,
}

impl Default for Broadcast {
    fn default() -> Self {
        let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect();
        let voice = |language: &str, voice: &str| (language.to_owned(), voice.to_owned());
        Broadcast {
            speech_command: words(&["espeak-ng", "-v", "{voice}", "-s", "{words_per_minute}", "--stdin", "--stdout"]),
            speech_voices: BTreeMap::from([voice("zh", "cmn"), voice("en", "en")]),
            words_per_minute: 150,
            number: String::new(),
            name: "应急广播".to_owned(),
            at_once: 50,
            answer: 30,
            retries: 2,
            retry_pause: 20,
            keep_days: 400,
        }
    }
}

impl Broadcast {
    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        let mut want = |good: bool, key: &'static str, why: &str| {
            if !good {
                out.push((key, why.to_owned()));
            }
        };
        let word = |w: &String, most: usize| w.len() <= most && !w.chars().any(char::is_control);
        want(
            self.speech_command.len() <= 32 && self.speech_command.iter().all(|w| word(w, 512)),
            "speech_command",
            "has up to 32 words of at most 512 bytes",
        );
        let language = |l: &str| (2..=8).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        // A voice that begins with a hyphen would be an option of the engine.
        let voice = |v: &String| !v.is_empty() && word(v, 64) && !v.starts_with('-');
        want(
            self.speech_voices.len() <= 32 && self.speech_voices.iter().all(|(l, v)| language(l) && voice(v)),
            "speech_voices",
            "has up to 32 voices by language, as in { zh = \"cmn\" }",
        );
        want((60..=400).contains(&self.words_per_minute), "words_per_minute", "is from 60 to 400");
        want(
            self.number.len() <= 12 && self.number.bytes().all(|b| b.is_ascii_digit()),
            "number",
            "is up to 12 digits",
        );
        want(
            self.name.chars().count() <= 64 && !self.name.chars().any(char::is_control),
            "name",
            "has up to 64 characters, on one line",
        );
        want((1..=500).contains(&self.at_once), "at_once", "is from 1 to 500");
        want((5..=120).contains(&self.answer), "answer", "is from 5 to 120");
        want(self.retries <= 10, "retries", "is from 0 to 10");
        want((1..=600).contains(&self.retry_pause), "retry_pause", "is from 1 to 600");
        out
    }
}
