//! Identity tokens: what a registry's token service has given in place of a password, and gives tokens for
//! (distribution, "Docker Registry v2 authentication using OAuth2").

use std::time::Duration;

use http_auth::ChallengeParser;
use oci_client::client::Certificate;
use oci_client::errors::OciDistributionError as Failure;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{NoProxy, Proxy, StatusCode, Url};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::credentials::Credentials;
use super::settings::Proxies;
use super::{AGENT, CONNECT};

/// What token services know us as.
const CLIENT: &str = "composer";
/// How long a token holds that does not say so.
const LIFETIME: u64 = 60;
/// How long a client keeps a token at most: it is renewed in time, and what is kept is the last.
pub(super) const KEPT: usize = 24 * 60 * 60;

/// Gets tokens for one image of one registry.
pub(super) struct Exchange {
    pub http: reqwest::Client,
    /// `https://HOST`.
    pub base: String,
    pub image: oci_client::Reference,
    pub operation: RegistryOperation,
    pub identity: String,
}

/// What a token service answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "token")]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What it answers whoever has a password and wants to have no need of it any more.
#[derive(Deserialize)]
struct Offer {
    #[serde(default)]
    refresh_token: String,
}

/// The client that asks token services, as the registry's own is.
pub(super) fn http(
    insecure: bool,
    certificates: &[Certificate],
    (proxies, silence): (&Proxies, Duration),
) -> Result<reqwest::Client, Failure> {
    let certificates: Result<Vec<_>, _> = certificates.iter().map(reqwest::Certificate::try_from).collect();
    let mut builder = reqwest::Client::builder()
        .danger_accept_invalid_certs(insecure)
        .tls_certs_merge(certificates?)
        .connect_timeout(CONNECT)
        .read_timeout(silence)
        .user_agent(AGENT);
    let none = || proxies.none.as_deref().and_then(NoProxy::from_string);
    if let Some(proxy) = &proxies.https {
        builder = builder.proxy(Proxy::https(proxy)?.no_proxy(none()));
    }
    if let Some(proxy) = &proxies.http {
        builder = builder.proxy(Proxy::http(proxy)?.no_proxy(none()));
    }
    Ok(builder.build()?)
}

impl Exchange {
    /// Has the client use a token, and the next one before that has expired; the first.
    pub(super) async fn log_in(self, client: &Client) -> Result<Option<String>, Failure> {
        let Some(mut answer) = self.token().await? else { return Ok(None) };
        let first = answer.access_token.clone();
        self.hand_over(client, &answer).await?;
        let client = client.clone();
        // Until the runtime ends, with whoever pulls or pushes by it.
        Handle::current().spawn(async move {
            loop {
                let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME).max(1));
                tokio::time::sleep(lifetime * 3 / 4).await;
                match self.token().await {
                    Ok(Some(next)) => answer = next,
                    // The next request says why.
                    Ok(None) | Err(_) => return,
                }
                if self.hand_over(&client, &answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(first))
    }

    async fn hand_over(&self, client: &Client, answer: &Answer) -> Result<(), Failure> {
        let token = RegistryAuth::Bearer(answer.access_token.clone());
        client.auth(&self.image, &token, self.operation).await.map(drop)
    }

    /// A token; `None` where the registry wants none.
    async fn token(&self) -> Result<Option<Answer>, Failure> {
        let challenges = challenges(&self.http, &self.base).await?;
        let Some((realm, service)) = service(&self.base, &challenges)? else { return Ok(None) };
        let actions = match self.operation {
            RegistryOperation::Pull => "pull",
            RegistryOperation::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.image.repository());
        let form = [
            ("grant_type", "refresh_token"),
            ("service", &service),
            ("scope", &scope),
            ("client_id", CLIENT),
            ("refresh_token", &self.identity),
        ];
        let answered = self.http.post(realm).form(&form).send().await?;
        let status = answered.status();
        let text = answered.text().await?;
        match serde_json::from_str(&text) {
            Ok(answer) if status == StatusCode::OK => Ok(Some(answer)),
            Err(error) if status == StatusCode::OK => {
                Err(Failure::RegistryTokenDecodeError(error.to_string()))
            }
            _ if text.trim().is_empty() => {
                Err(Failure::AuthenticationFailure(format!("it answers {status} to an identity token")))
            }
            _ => Err(Failure::AuthenticationFailure(text)),
        }
    }
}

/// The identity token that a registry's token service gives for a password, as Docker asks for it; `None` where it gives
/// none.
pub(super) async fn offered(
    http: &reqwest::Client,
    base: &str,
    image: &oci_client::Reference,
    credentials: &Credentials,
) -> Result<Option<String>, Failure> {
    let Some((realm, service)) = service(base, &challenges(http, base).await?)? else { return Ok(None) };
    let Ok(mut realm) = Url::parse(&realm) else { return Ok(None) };
    realm
        .query_pairs_mut()
        .append_pair("service", &service)
        .append_pair("scope", &format!("repository:{}:pull", image.repository()))
        .append_pair("account", &credentials.user)
        .append_pair("client_id", CLIENT)
        .append_pair("offline_token", "true");
    let asking = http.get(realm).basic_auth(&credentials.user, Some(&credentials.secret));
    let text = asking.send().await?.text().await?;
    // Whatever else it says: it has taken the password before.
    let offer = serde_json::from_str::<Offer>(&text).ok();
    Ok(offer.map(|offer| offer.refresh_token).filter(|token| !token.is_empty()))
}

/// What a registry wants of whoever asks it something.
async fn challenges(http: &reqwest::Client, base: &str) -> Result<Vec<String>, Failure> {
    let asked = http.get(format!("{base}/v2/")).send().await?;
    let all = asked.headers().get_all(WWW_AUTHENTICATE).iter();
    Ok(all.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect())
}

/// Which token service a registry wants a token of; `None` where it wants none.
fn service(base: &str, challenges: &[impl AsRef<str>]) -> Result<Option<(String, String)>, Failure> {
    let ours = |why: String| Err(Failure::GenericError(Some(why)));
    match challenges.iter().find_map(|challenges| bearer(challenges.as_ref())) {
        None if challenges.is_empty() => Ok(None),
        None => ours("the registry wants a password, and there is an identity token: log in anew".to_owned()),
        Some((realm, _)) if base.starts_with("https:") && !realm.starts_with("https:") => {
            ours(format!("{realm} would be told the identity token in plain text"))
        }
        found => Ok(found),
    }
}

/// The realm and the service of a challenge for a token.
fn bearer(challenges: &str) -> Option<(String, String)> {
    let mut all = ChallengeParser::new(challenges).filter_map(Result::ok);
    let found = all.find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))?;
    let value = |key: &str| {
        let mut values = found.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        values.next().map(|(_, value)| value.to_unescaped())
    };
    Some((value("realm")?, value("service").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let found = |text| bearer(text);
        let pair = |realm: &str, service: &str| Some((realm.to_owned(), service.to_owned()));
        let both = r#"Basic realm="a, b", Bearer realm="https://a.io/token",service="reg \"1\"",scope="x""#;
        assert_eq!(found(both), pair("https://a.io/token", "reg \"1\""));
        assert_eq!(found(r#"bearer Realm="http://b""#), pair("http://b", ""));
        assert_eq!(found(r#"Bearer service="x""#), None);
        assert_eq!(found(r#"Basic realm="x""#), None);
    }

    #[test]
    fn services() {
        let bearer = r#"Bearer realm="http://a.io/token",service="a""#;
        let refused = |base, challenges: &[&str]| match service(base, challenges) {
            Err(Failure::GenericError(Some(why))) => why,
            other => panic!("{other:?}"),
        };
        let found = Some(("http://a.io/token".to_owned(), "a".to_owned()));
        assert_eq!(service("http://a.io", &["Basic realm=x", bearer]).unwrap(), found);
        assert_eq!(service("https://a.io", &[""; 0]).unwrap(), None);
        assert!(refused("https://a.io", &[bearer]).contains("in plain text"));
        assert!(refused("https://a.io", &["Basic realm=x"]).contains("wants a password"));
    }
}
