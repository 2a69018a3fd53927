//! The certificate of console and SIP: configured, or made on first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

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

/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The client side of TLS towards SIP peers: those whom a certificate of `roots` (a PEM file) vouches for, or of the system's
/// store when it is empty.
pub fn client_config(roots: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let system = || SYSTEM_ROOTS.iter().map(PathBuf::from).find(|p| p.exists());
    let path = if roots.is_empty() { system() } else { Some(PathBuf::from(roots)) };
    let mut store = RootCertStore::empty();
    if let Some(path) = path {
        let read = |error: String| TlsError::Read { path: path.clone(), error };
        let list = CertificateDer::pem_file_iter(&path).map_err(|e| read(e.to_string()))?;
        let (good, _) = store.add_parsable_certificates(list.filter_map(Result::ok));
        if good == 0 {
            return Err(read("no certificate in it".to_owned()));
        }
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(store).with_no_client_auth()))
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
