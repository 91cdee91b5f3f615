//! Authorities of one registry's own, as files of PEM.

use std::fs;
use std::path::Path;

use oci_client::client::{Certificate, CertificateEncoding};

use crate::error::{Error, Result};

pub(super) fn read(folder: &Path) -> Result<Vec<Certificate>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            let data = fs::read(&path).map_err(Error::file("read", &path))?;
            found.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
    }
    Ok(found)
}
