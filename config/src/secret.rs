//! Secrets are never written in the configuration: they are referred to.

use std::io::Read;
use std::path::Path;

/// Why a secret could not be had. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("a secret must be given as \"file:/path\" or \"env:NAME\", not in plain text")]
    PlainText,
    #[error("the environment has no variable {0}")]
    NoVariable(String),
    #[error("cannot read the secret file {path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("the secret in {0} is empty")]
    Empty(String),
}

/// The largest secret file that is read, in bytes.
const LIMIT: u64 = 4096;

/// Follows a reference. An empty reference means that there is no secret.
pub fn resolve_secret(
    reference: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, SecretError> {
    if reference.is_empty() {
        return Ok(None);
    }
    let secret = if let Some(name) = reference.strip_prefix("env:") {
        environment(name).ok_or_else(|| SecretError::NoVariable(name.to_owned()))?
    } else if let Some(path) = reference.strip_prefix("file:") {
        read(Path::new(path)).map_err(|error| SecretError::File { path: path.to_owned(), error })?
    } else {
        return Err(SecretError::PlainText);
    };
    let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
    if secret.is_empty() {
        return Err(SecretError::Empty(reference.to_owned()));
    }
    Ok(Some(secret))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}
