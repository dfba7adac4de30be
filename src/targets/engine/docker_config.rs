//! The configuration of the `docker` CLI: contexts and credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

use super::failure::Told;
use crate::run::child::{Children, Command};
use crate::run::{Failure, Kind, Secrets};

/// The key that Docker Hub's credentials are kept under.
const HUB: &str = "https://index.docker.io/v1/";

/// What of `config.json` matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    current_context: String,
    auths: BTreeMap<String, Auth>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    identitytoken: String,
}

/// Where a context says that its engine is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContextEndpoint {
    /// As in `unix:///run/docker.sock`.
    pub host: String,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem`, where it has one.
    pub certificates: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    name: String,
    endpoints: BTreeMap<String, ContextHost>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextHost {
    host: String,
}

/// What a credential helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl DockerConfig {
    /// Reads the user's configuration; an empty one when there is none.
    ///
    /// # Errors
    /// When it is there but cannot be understood.
    pub(super) fn read() -> Result<Self, Failure> {
        let folder = match std::env::var_os("DOCKER_CONFIG") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            _ => etcetera::home_dir().unwrap_or_default().join(".docker"),
        };
        Self::read_from(folder)
    }

    fn read_from(folder: PathBuf) -> Result<Self, Failure> {
        let path = folder.join("config.json");
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { folder, ..Self::default() });
            }
            Err(error) => {
                return Err(Failure::new(Kind::Io, "docker's configuration cannot be read").cause(error));
            }
        };
        let config: Self = serde_json::from_slice(&text).map_err(|error| {
            Failure::new(Kind::TargetUnusable, format!("{} cannot be understood", path.display()))
                .hint("correct it, or set DOCKER_CONFIG to another folder")
                .cause(error)
        })?;
        Ok(Self { folder, ..config })
    }

    /// The context in use; none for the default one.
    pub(super) fn context(&self) -> Option<String> {
        let named = std::env::var("DOCKER_CONTEXT").ok().filter(|name| !name.is_empty());
        let name = named.unwrap_or_else(|| self.current_context.clone());
        (!name.is_empty() && name != "default").then_some(name)
    }

    /// Where the engine of a context is; none when there is no such context.
    pub(super) fn endpoint(&self, context: &str) -> Option<ContextEndpoint> {
        let contexts = self.folder.join("contexts");
        let folders = fs_err::read_dir(contexts.join("meta")).ok()?;
        folders.flatten().find_map(|folder| {
            let text = fs_err::read(folder.path().join("meta.json")).ok()?;
            let meta: ContextMeta = serde_json::from_slice(&text).ok()?;
            let endpoint = meta.endpoints.get("docker").filter(|_| meta.name == context)?;
            let certificates = contexts.join("tls").join(folder.file_name()).join("docker");
            Some(ContextEndpoint {
                host: endpoint.host.clone(),
                certificates: certificates.join("cert.pem").exists().then_some(certificates),
            })
        })
    }

    /// The user's credentials for a registry, masked from now on; none when there
    /// are none.
    ///
    /// # Errors
    /// When the credential helper cannot be run.
    pub(super) async fn credentials(
        &self,
        registry: &str,
        children: &Children,
        secrets: &Secrets,
    ) -> Result<Option<DockerCredentials>, Failure> {
        let found = self.look_for(registry, children).await?;
        if let Some(found) = &found {
            [&found.password, &found.identitytoken].into_iter().flatten().for_each(|secret| {
                secrets.add(secret);
            });
        }
        Ok(found)
    }

    async fn look_for(
        &self,
        registry: &str,
        children: &Children,
    ) -> Result<Option<DockerCredentials>, Failure> {
        let key = if registry == "docker.io" { HUB } else { registry };
        let helper = self.cred_helpers.get(key).filter(|helper| !helper.is_empty());
        let helper = helper.or(Some(&self.creds_store)).filter(|helper| !helper.is_empty());
        if let Some(helper) = helper
            && let Some(found) = ask(helper, key, children).await?
        {
            return Ok(Some(found));
        }
        let auth = self.auths.iter().find(|(host, _)| host.as_str() == key || bare(host) == registry);
        Ok(auth.and_then(|(_, auth)| auth.credentials(key)))
    }
}

impl Auth {
    fn credentials(&self, key: &str) -> Option<DockerCredentials> {
        let decoded = STANDARD.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = decoded.as_deref().and_then(|text| text.split_once(':')).unzip();
        if username.is_none() && self.identitytoken.is_empty() {
            return None;
        }
        Some(DockerCredentials {
            username: username.map(str::to_owned),
            password: password.map(|password| password.trim_end_matches('\0').to_owned()),
            serveraddress: Some(key.to_owned()),
            identitytoken: Some(self.identitytoken.clone()).filter(|token| !token.is_empty()),
            ..DockerCredentials::default()
        })
    }
}

/// The host of a key such as `https://ghcr.io/v2/`.
fn bare(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    key.split('/').next().unwrap_or(key)
}

/// Asks a `docker-credential-NAME` program. None when it has none.
async fn ask(helper: &str, key: &str, children: &Children) -> Result<Option<DockerCredentials>, Failure> {
    let program = format!("docker-credential-{helper}");
    let command = Command {
        program: program.clone().into(),
        args: vec!["get".into()],
        stdin: Some(key.to_owned()),
        ..Command::default()
    };
    let answered = children.run(&command, |_, _| {}).await.map_err(|error| {
        Failure::new(Kind::TargetUnusable, format!("the credentials for {key} cannot be asked for"))
            .hint(format!(
                "docker's configuration names `{program}`: install it, or take it out of config.json"
            ))
            .cause(error)
    })?;
    if !answered.status.success() {
        if answered.stdout.contains("not found") {
            return Ok(None);
        }
        let what = format!("`{program}` did not give the credentials for {key}");
        return Err(Failure::new(Kind::Command, what).evidence(answered.tail(5)));
    }
    let answer: HelperAnswer = serde_json::from_str(&answered.stdout).map_err(|error| {
        Failure::new(Kind::Command, format!("`{program}` answered with something else than credentials"))
            .cause(Told(error.to_string()))
    })?;
    // By convention, a user of this name means that the secret is a token.
    let is_token = answer.username == "<token>";
    Ok(Some(DockerCredentials {
        username: (!is_token).then(|| answer.username.clone()),
        password: (!is_token).then(|| answer.secret.clone()),
        identitytoken: is_token.then_some(answer.secret),
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    }))
}

/// A folder that holds a configuration, for tests.
#[cfg(test)]
pub(super) fn config_in(folder: &std::path::Path) -> DockerConfig {
    DockerConfig::read_from(folder.to_owned()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn finds_the_engine_of_a_context() {
        let folder = folder(&[
            ("config.json", r#"{"currentContext":"there"}"#),
            ("contexts/meta/1/meta.json", r#"{"Name":"here","Endpoints":{"docker":{"Host":"unix:///h"}}}"#),
            (
                "contexts/meta/2/meta.json",
                r#"{"Name":"there","Endpoints":{"docker":{"Host":"tcp://t:2376"}}}"#,
            ),
            ("contexts/tls/2/docker/cert.pem", ""),
        ]);
        let config = config_in(folder.path());
        assert_eq!(config.endpoint("here").unwrap().host, "unix:///h");
        let there = config.endpoint("there").unwrap();
        assert_eq!(there.host, "tcp://t:2376");
        assert_eq!(there.certificates, Some(folder.path().join("contexts/tls/2/docker")));
        assert_eq!(config.endpoint("nowhere"), None);
    }

    #[tokio::test]
    async fn finds_credentials_by_registry() {
        let text = r#"{"auths":{
            "https://index.docker.io/v1/": {"auth":"aHViOnB3"},
            "https://ghcr.io/v2/": {"auth":"Z2g6YTpi"},
            "quay.io": {}
        }}"#;
        let folder = folder(&[("config.json", text)]);
        let config = config_in(folder.path());
        let (children, secrets) = (Children::default(), Secrets::default());
        for (registry, expected) in
            [("docker.io", Some(("hub", "pw"))), ("ghcr.io", Some(("gh", "a:b"))), ("quay.io", None)]
        {
            let found = config.credentials(registry, &children, &secrets).await.unwrap();
            let found = found.map(|found| (found.username.unwrap(), found.password.unwrap()));
            assert_eq!(found, expected.map(|(user, word)| (user.into(), word.into())), "{registry}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_installed_is_named() {
        let folder = folder(&[("config.json", r#"{"credHelpers":{"example.org":"nowhere"}}"#)]);
        let config = config_in(folder.path());
        let (children, secrets) = (Children::default(), Secrets::default());
        let failure = config.credentials("example.org", &children, &secrets).await.unwrap_err();
        assert!(failure.hint.as_deref().unwrap().contains("docker-credential-nowhere"));
        assert!(config.credentials("other.org", &children, &secrets).await.unwrap().is_none());
    }
}
