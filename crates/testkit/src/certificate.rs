//! A certificate authority of our own, for servers that speak TLS.

use std::fmt;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::error::{Error, Result};

/// An authority that nobody trusts unless told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PEM (PKCS #8).
    pub key: String,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "layerkeeper test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate (PEM), for those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server with these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        let key = KeyPair::generate().map_err(failed)?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).and_then(|params| params.signed_by(&key, &self.issuer));
        Ok(Issued { certificate: certificate.map_err(failed)?.pem(), key: key.serialize_pem() })
    }
}

fn failed(error: rcgen::Error) -> Error {
    Error::failed("making a certificate", error)
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}
