//! Certificates for servers and clients of the tests, as files in a sandbox.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::common::Sandbox;

/// An authority that nobody trusts unless told to. Its certificate is the file `NAME.pem`.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(sandbox: &Sandbox, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        sandbox.write(&format!("{name}.pem"), issuer.pem().as_bytes());
        Self { issuer }
    }

    /// A certificate for a host, `FILE.pem`, and its key, `FILE.key`.
    pub fn issue(&self, sandbox: &Sandbox, file: &str, host: &str) {
        self.issue_with(sandbox, file, CertificateParams::new([host.to_owned()]).unwrap());
    }

    /// A certificate that was good until some years ago.
    pub fn issue_expired(&self, sandbox: &Sandbox, file: &str, host: &str) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.issue_with(sandbox, file, params);
    }

    fn issue_with(&self, sandbox: &Sandbox, file: &str, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        sandbox.write(&format!("{file}.pem"), certificate.pem().as_bytes());
        sandbox.write(&format!("{file}.key"), key.serialize_pem().as_bytes());
    }
}

/// What nginx must be told to show `FILE.pem`.
pub fn shown(sandbox: &Sandbox, file: &str) -> String {
    let path = sandbox.path(file);
    format!("ssl_certificate {0}.pem; ssl_certificate_key {0}.key;", path.display())
}

/// A server with the files of a sandbox, the certificate of which `ca.pem` is the authority of.
pub fn trusted_by_ca(sandbox: &Sandbox) -> String {
    Authority::new(sandbox, "ca").issue(sandbox, "server", "localhost");
    shown(sandbox, "server")
}
