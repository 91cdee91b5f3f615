//! Debian's `docker-registry`: plain, and with TLS and basic auth.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use oci_client::client::{Certificate, CertificateEncoding};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};

use super::{assert_whole, image, pull, refusal};
use crate::manifest::{OCI_INDEX, OCI_MANIFEST};
use crate::reference::{Named, Reference};
use crate::registry::connection::config;
use crate::registry::{Kept, Proxies, Registries, oci_image};
use crate::stop::Stop;
use crate::store::Store;
use crate::testing::{Made, Scratch};

/// `ann` and `secret`.
const PASSWORDS: &str = "ann:$2b$05$y1/bOhzmziM5kcL3Gclls.A6Dd827DlJZ84XHV2fnrc2U2BmgLJai\n";

pub(super) struct Server {
    scratch: Scratch,
    process: Child,
    pub name: String,
    tls: bool,
}

impl Server {
    pub fn start(tls: bool) -> Self {
        let scratch = Scratch::new();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            at("storage")
        );
        if tls {
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "2",
                ])
                .args(["-subj", "/CN=composer", "-addext", "subjectAltName=IP:127.0.0.1,DNS:registry.test"])
                .args([
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                    "-keyout",
                    &at("key"),
                    "-out",
                    &at("crt"),
                ])
                .stderr(Stdio::null())
                .status()
                .expect("openssl is installed");
            assert!(made.success());
            fs::write(at("passwords"), PASSWORDS).unwrap();
            config += &format!("  tls: {{certificate: {}, key: {}}}\n", at("crt"), at("key"));
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("passwords"));
        }
        fs::write(at("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed");
        let mut output = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            said.clear();
            assert!(output.read_line(&mut said).unwrap() > 0, "docker-registry has ended");
        }
        // It blocks when nobody reads what it says.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { scratch, process, name: format!("127.0.0.1:{port}"), tls }
    }

    fn named(&self, rest: &str) -> Named {
        match Reference::parse(&format!("{}/{rest}", self.name), "/".as_ref()).unwrap() {
            Reference::Registry(named) => named,
            other => panic!("{other} is not in a registry"),
        }
    }

    /// Uploads an image, and an index that lists it beside one for another platform.
    pub fn push(&self, rest: &str, made: &Made) {
        let named = self.named(rest);
        let image = oci_image(&named, &self.name);
        let certificates = match self.tls {
            true => {
                let data = fs::read(self.scratch.path().join("crt")).unwrap();
                vec![Certificate { encoding: CertificateEncoding::Pem, data }]
            }
            false => Vec::new(),
        };
        let client =
            config(&self.name, !self.tls, false, certificates, (&Proxies::default(), super::super::SILENCE));
        let client = Client::try_from(client).unwrap();
        let auth = match self.tls {
            true => RegistryAuth::Basic("ann".to_owned(), "secret".to_owned()),
            false => RegistryAuth::Anonymous,
        };
        let platform = r#","platform":{"os":"linux","architecture":"amd64"}"#;
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#,
            made.entry(platform)
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            client.auth(&image, &auth, RegistryOperation::Push).await.unwrap();
            for (digest, bytes) in made.blobs.iter().filter(|(digest, _)| *digest != made.manifest) {
                client.push_blob(&image, bytes.clone(), &digest.to_string()).await.unwrap();
            }
            let by_digest = image.clone_with_digest(made.manifest.to_string());
            let manifest = made.blob(&made.manifest).to_vec();
            client.push_manifest_raw(&by_digest, manifest, OCI_MANIFEST.parse().unwrap()).await.unwrap();
            client.push_manifest_raw(&image, index.into_bytes(), OCI_INDEX.parse().unwrap()).await.unwrap();
        });
    }

    /// A Docker configuration with these credentials, and the server's own certificate.
    pub fn registries(&self, secret: &str) -> Registries {
        self.registries_of(secret, &self.name)
    }

    /// The same under another name.
    pub fn registries_of(&self, secret: &str, name: &str) -> Registries {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("ann:{secret}"));
        let path: PathBuf = self.scratch.path().join("config.json");
        fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, name)).unwrap();
        let trusted = self.scratch.path().join("certs.d").join(name);
        fs::create_dir_all(&trusted).unwrap();
        fs::copy(self.scratch.path().join("crt"), trusted.join("ca.crt")).unwrap();
        Registries {
            docker_config: Some(path),
            certificates: Some(self.scratch.path().join("certs.d")),
            ..Registries::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).unwrap();
    }
}

#[test]
fn plain_on_loopback() {
    let server = Server::start(false);
    let made = image();
    server.push("shop/api:v1", &made);
    let scratch = Scratch::new();
    let name = format!("{}/shop/api:v1", server.name);
    let image = pull(&scratch, &name, Registries::default()).unwrap();
    assert_whole(&image);
    assert_eq!((&image.digest, &image.id), (&made.manifest, &made.config));
    assert_ne!(image.source, image.digest, "the tag is of an index");
    // By digest: of the index, and of the manifest.
    for digest in [&image.source, &made.manifest] {
        let scratch = Scratch::new();
        let name = format!("{}/shop/api:other@{digest}", server.name);
        assert_eq!(pull(&scratch, &name, Registries::default()).unwrap().digest, made.manifest);
    }
}

#[test]
fn what_is_not_there() {
    let server = Server::start(false);
    server.push("shop/api:v1", &image());
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{}/shop/api:v2", server.name), Registries::default()));
    assert!(said.contains(&format!("cannot find `{}/shop/api:v2`", server.name)), "{said}");
    assert!(said.contains("manifest unknown"), "{said}");
    let said = refusal(pull(&scratch, &format!("{}/nothing", server.name), Registries::default()));
    assert!(said.contains("the registry says"), "{said}");
    let name = server.name.clone();
    drop(server);
    let said = refusal(pull(&scratch, &format!("{name}/shop/api:v1"), Registries::default()));
    assert!(said.contains("onnection refused"), "{said}");
}

#[test]
fn tls_and_basic_auth() {
    let server = Server::start(true);
    server.push("shop/api:v1", &image());
    let name = format!("{}/shop/api:v1", server.name);
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &name, server.registries("secret")).unwrap());

    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &name, server.registries("wrong")));
    assert!(said.contains("refuses the credentials of `ann`"), "{said}");
    let nobody = Registries { docker_config: None, ..server.registries("secret") };
    let said = refusal(pull(&scratch, &name, nobody));
    assert!(said.contains("it wants credentials"), "{said}");
    let stranger = Registries { certificates: None, ..server.registries("secret") };
    let said = refusal(pull(&scratch, &name, stranger));
    assert!(said.contains("certificate"), "{said}");
    let insecure =
        Registries { certificates: None, insecure: vec![server.name.clone()], ..server.registries("secret") };
    assert_whole(&pull(&scratch, &name, insecure).unwrap());
}

#[test]
fn logging_in_and_out() {
    let server = Server::start(true);
    server.push("shop/api:v1", &image());
    let scratch = Scratch::new();
    let path = scratch.path().join("mine/config.json");
    let registries = Registries { docker_config: Some(path.clone()), ..server.registries("secret") };
    let log_in = |given: Option<(&str, &str)>| {
        let given = given.map(|(user, secret)| (user.to_owned(), secret.to_owned()));
        registries.log_in(&server.name, given, None, &Stop::default())
    };
    let said = log_in(None).unwrap_err().to_string();
    assert!(said.contains("there are no credentials of it"), "{said}");
    let said = log_in(Some(("ann", "wrong"))).unwrap_err().to_string();
    assert!(said.contains("refuses the credentials of `ann`") && !path.exists(), "{said}");
    assert_eq!(log_in(Some(("ann", "secret"))).unwrap(), Kept::File(path.clone()));
    assert_eq!(registries.user(&server.name).unwrap().as_deref(), Some("ann"));
    log_in(None).unwrap();
    let name = format!("{}/shop/api:v1", server.name);
    assert_whole(&pull(&scratch, &name, registries.clone()).unwrap());
    let token = format!(r#"{{"auths":{{"{}":{{"identitytoken":"x"}}}}}}"#, server.name);
    fs::write(&path, token).unwrap();
    let said = log_in(None).unwrap_err().to_string();
    assert!(said.contains("wants a password, and there is an identity token"), "{said}");
    assert!(registries.log_out(&server.name, None).unwrap());
    assert!(!registries.log_out(&server.name, None).unwrap());
    let said = refusal(pull(&scratch, &name, registries));
    assert!(said.contains("it wants credentials"), "{said}");
}

#[test]
fn what_is_pushed_can_be_pulled() {
    let (from, to) = (Server::start(false), Server::start(false));
    from.push("shop/api:v1", &image());
    let scratch = Scratch::new();
    let first = pull(&scratch, &format!("{}/shop/api:v1", from.name), Registries::default()).unwrap();
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let name = |text: String| Reference::parse(&text, scratch.path()).unwrap();
    let push = |reference: &Reference| store.push(reference, &super::platform(), &|_| ());
    // To where its layers are: they are taken over, and all stays as it was.
    let again = name(format!("{}/shop/again:v2", from.name));
    store.tag(&first, &again).unwrap();
    assert_eq!(push(&again).unwrap(), first.digest);
    // To where nothing of it is: its layers are packed anew, the same each time.
    let other = name(format!("{}/new/api:v1", to.name));
    store.tag(&first, &other).unwrap();
    let digest = push(&other).unwrap();
    assert_ne!(digest, first.digest);
    assert_eq!(push(&other).unwrap(), digest);
    for (reference, digest) in [(again, &first.digest), (other, &digest)] {
        let scratch = Scratch::new();
        let pulled = pull(&scratch, &reference.to_string(), Registries::default()).unwrap();
        assert_eq!(pulled.digest, *digest);
        assert_eq!(pulled.config.run, first.config.run);
        assert_whole(&pulled);
    }
    let missing = name(format!("{}/none", to.name));
    let said = push(&missing).unwrap_err().to_string();
    assert!(said.contains("no image `") && said.contains("/none:latest`"), "{said}");
    let name = to.name.clone();
    drop(to);
    let said = push(&Reference::parse(&format!("{name}/new/api:v1"), scratch.path()).unwrap())
        .unwrap_err()
        .to_string();
    assert!(said.contains("onnection refused"), "{said}");
}
