//! The certificate of console and SIP: configured, or made on first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::Http;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: String },
    #[error("cannot make a certificate: {0}")]
    Make(String),
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    #[error("certificate and key do not fit: {0}")]
    Unfit(#[from] rustls::Error),
}

/// The server side of TLS. Without a configured certificate one is made in `data` for the machine's names, once.
pub fn server_config(http: &Http, data: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = if http.certificate.is_empty() {
        made(http, data)?
    } else {
        (PathBuf::from(&http.certificate), PathBuf::from(&http.private_key))
    };
    let read = |path: &Path, error: String| TlsError::Read { path: path.to_owned(), error };
    let chain: Result<Vec<CertificateDer>, _> =
        CertificateDer::pem_file_iter(&certificate).map_err(|e| read(&certificate, e.to_string()))?.collect();
    let chain = chain.map_err(|e| read(&certificate, e.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|e| read(&key, e.to_string()))?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn made(http: &Http, data: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (data.join("tls.crt"), data.join("tls.key"));
    let there = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.len() > 0);
    if there(&certificate) && there(&key) {
        return Ok((certificate, key));
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if let Ok(host) = std::fs::read_to_string("/etc/hostname") {
        names.push(host.trim().to_owned());
    }
    names.extend(http.names.iter().cloned());
    names.retain(|n| !n.is_empty());
    names.sort();
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| TlsError::Make(e.to_string()))?;
    write(&key, &made.signing_key.serialize_pem())?;
    write(&certificate, &made.cert.pem())?;
    Ok((certificate, key))
}

fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |error| TlsError::Write { path: path.to_owned(), error };
    // Whole or not at all: a file torn by a full disk would stop every later start.
    let new = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&new, path).map_err(fail)
}
