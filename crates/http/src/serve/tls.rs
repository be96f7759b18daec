//! The webhook listener's own certificate, for hosts without a proxy in front.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::HttpError;

/// Reads a PEM certificate chain (the server's own first) and a PEM key (PKCS #8, PKCS #1 or SEC 1).
pub fn server_config(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, HttpError> {
    let cert_error = |reason: String| HttpError::Tls { key: "tls_cert", reason };
    let chain = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| cert_error(format!("not a PEM file of certificates: {cause}")))?;
    if chain.is_empty() {
        return Err(cert_error("no \"BEGIN CERTIFICATE\" in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| HttpError::Tls {
        key: "tls_key",
        // the parser's own words may quote the file
        reason: "no PEM private key in it (\"BEGIN PRIVATE KEY\" or its RSA and EC forms)".to_owned(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| cert_error(cause.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|cause| HttpError::Tls { key: "tls_key", reason: format!("does not go with tls_cert: {cause}") })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
