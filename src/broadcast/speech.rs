//! Text to sound by a program that is installed: text into its standard input, WAV out of its standard output.

use std::process::Stdio;
use std::time::Duration;

use media_core::wav::Wav;
use media_hub::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::config::Broadcast as Settings;
use super::faults;
use super::sound::LONGEST;

/// Longest text in characters.
pub(crate) const MOST_TEXT: usize = 1_000;
/// Time for the engine.
const WITHIN: Duration = Duration::from_secs(30);
/// Most output: ten minutes at 48 kHz.
const MOST_BYTES: u64 = 64 << 20;
/// What is kept of its complaints.
const MOST_WORDS: u64 = 2_048;
/// Texts that are spoken at once; more wait.
const AT_ONCE: usize = 2;

/// The engine.
pub(crate) struct Speech(Semaphore);

impl Default for Speech {
    fn default() -> Self {
        Speech(Semaphore::new(AT_ONCE))
    }
}

/// `zh` where there is a Chinese character, else `en`.
pub(crate) fn language(text: &str) -> &'static str {
    if text.chars().any(|c| ('\u{3400}'..='\u{9fff}').contains(&c)) { "zh" } else { "en" }
}

/// What is wrong with a text, in English.
pub(crate) fn problem(text: &str) -> Option<&'static str> {
    let length = text.chars().count();
    match text {
        _ if text.trim().is_empty() => Some("the text is empty"),
        _ if length > MOST_TEXT => Some("a text has at most 1000 characters"),
        _ if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) => {
            Some("a text has no control characters")
        }
        _ => None,
    }
}

impl Speech {
    /// Speaks `text`, which [`problem`] has passed.
    pub async fn speak(&self, settings: &Settings, text: &str, language: &str, wpm: u32) -> Result<Wav, Fault> {
        let voice = settings.speech_voices.get(language).ok_or_else(|| faults::no_voice(language))?;
        let wpm = wpm.to_string();
        let mut words =
            settings.speech_command.iter().map(|w| w.replace("{voice}", voice).replace("{words_per_minute}", &wpm));
        let program = words.next().filter(|p| !p.is_empty()).ok_or_else(faults::engine_off)?;
        let _turn = self.0.acquire().await;
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(WITHIN, run(command, &program, text)).await;
        let output = output.map_err(|_| faults::engine_slow())??;
        let wav = tokio::task::spawn_blocking(move || Wav::parse(&output, LONGEST)).await;
        let wav = wav.map_err(|e| faults::engine_failed(&e.to_string()))?;
        let wav = wav.map_err(|e| faults::engine_failed(&e.to_string()))?;
        if wav.samples.iter().all(|s| s.unsigned_abs() < 64) {
            return Err(faults::engine_failed("it said nothing"));
        }
        Ok(wav)
    }
}

async fn run(mut command: Command, program: &str, text: &str) -> Result<Vec<u8>, Fault> {
    let failed = |e: std::io::Error| faults::engine_failed(&e.to_string());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => faults::no_engine(program),
        _ => failed(error),
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // espeak-ng takes what stands in double brackets for sounds, not words.
    let text = text.replace("[[", "[ [");
    let give = async {
        if let Some(mut stdin) = stdin {
            // Who does not read says why in his status.
            let _ = stdin.write_all(text.as_bytes()).await;
            let _ = stdin.write_all(b"\n").await;
        }
    };
    let (mut sound, mut words) = (Vec::new(), Vec::new());
    let take = async {
        match stdout {
            Some(stdout) => stdout.take(MOST_BYTES + 1).read_to_end(&mut sound).await,
            None => Ok(0),
        }
    };
    let complaints = async {
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(MOST_WORDS).read_to_end(&mut words).await;
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
    };
    let ((), (), taken) = tokio::join!(give, complaints, take);
    taken.map_err(failed)?;
    if sound.len() as u64 > MOST_BYTES {
        return Err(faults::engine_failed("it wrote more than 64 MiB"));
    }
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        let words = String::from_utf8_lossy(&words);
        tracing::warn!(program, %status, said = words.trim(), "the speech engine failed");
        return Err(faults::engine_failed(&status.to_string()));
    }
    Ok(sound)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn with(command: &[&str]) -> Settings {
        Settings { speech_command: command.iter().map(|w| (*w).to_owned()).collect(), ..Settings::default() }
    }

    async fn said(command: &[&str], text: &str) -> Result<Wav, &'static str> {
        Speech::default().speak(&with(command), text, "en", 150).await.map_err(|f| f.code)
    }

    #[tokio::test]
    async fn what_an_engine_can_do_wrong_is_told() {
        assert_eq!(said(&[], "a").await, Err("speech_off"));
        assert_eq!(said(&["/no/such/engine"], "a").await, Err("speech_missing"));
        assert_eq!(said(&["false"], "a").await, Err("speech_failed"));
        assert_eq!(said(&["cat"], "this is no WAV").await, Err("speech_failed"));
        // Never reads, and writes without an end.
        assert_eq!(said(&["cat", "/dev/zero"], &"a".repeat(1000)).await, Err("speech_failed"));
        let other = Speech::default().speak(&with(&["cat"]), "a", "fr", 150).await;
        assert_eq!(other.unwrap_err().code, "speech_voice");
    }

    #[tokio::test]
    async fn the_text_goes_in_and_words_of_the_command_are_not_of_a_shell() {
        // `tail` gives back what it reads: a WAV as text would not pass the checks of a text, but the engine does not know that.
        let wav = Wav { rate: 8000, samples: vec![0x2020; 8] };
        let file = crate::testing::TempDir::new();
        let path = file.path().join("a b; false.wav");
        std::fs::write(&path, wav.write()).unwrap();
        assert_eq!(said(&["cat", path.to_str().unwrap()], "$(false)").await, Ok(wav));
    }

    #[test]
    fn texts_and_their_language() {
        assert_eq!((language("洪水 flood"), language("flood")), ("zh", "en"));
        assert!(problem("一\n二").is_none() && problem(&"洪".repeat(1000)).is_none());
        assert!(problem(" \n").is_some() && problem(&"a".repeat(1001)).is_some() && problem("a\u{7}").is_some());
    }
}
