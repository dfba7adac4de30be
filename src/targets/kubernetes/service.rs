//! Services in a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::place::Site;
use super::workload::{Deployment, Probe};
use super::{Kubernetes, template};
use crate::run::{Failure, Kind, Secrets, Step};
use crate::targets::engine::program_path;
use crate::targets::handles::ServiceParts;
use crate::targets::variables::{expand, port_variable, substitute};
use crate::targets::{Endpoint, Image, Service, ServiceRequest};

/// Where a service finds its files.
const FILES: &str = "/etc/recipe/files";

/// The variables of `manifests/service.yaml`.
#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    namespace: &'a str,
    run: &'a str,
    image: &'a str,
    replicas: usize,
    /// None for the image's own.
    command: Option<Vec<String>>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    secret_env: BTreeMap<String, String>,
    files: Vec<File>,
    secret_files: Vec<File>,
    files_at: &'static str,
    /// The main one first.
    ports: Vec<Port>,
    ready: Option<String>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    number: u16,
}

/// A file, under a key that Kubernetes takes.
#[derive(Serialize)]
struct File {
    key: String,
    path: String,
    text: String,
}

impl Kubernetes {
    pub(super) async fn start_service(
        &self,
        step: &Step,
        site: Arc<Site>,
        request: ServiceRequest,
    ) -> Result<Service, Failure> {
        let Some(reference) = request.image.as_ref().and_then(|image| image.reference.clone()) else {
            return Err(Failure::new(Kind::Usage, "it is not said which image the service runs").hint(
                "give the option `image`: the one that load_image returned, or the name of one in a registry",
            ));
        };
        let mut values = Values {
            namespace: &site.space.namespace,
            run: &site.space.run,
            ..values(&request, &reference, &self.run.secrets)?
        };
        values.ready = request.ready.as_ref().map(|path| format!("/{}", path.trim_start_matches('/')));
        let ports: Vec<u16> = values.ports.iter().map(|port| port.number).collect();
        let manifest = template::render(request.manifest.as_ref(), &template::SERVICE, &values)?;
        let ways = (request.name.as_str(), request.host_port, &ports[..]);
        let reached = self.put_up(step, &site, manifest, &reference, ways).await?;
        let mut endpoints = reached.endpoints.into_iter();
        let host = request.port.and_then(|_| endpoints.next());
        let probe = Probe::of_service(host.as_ref(), request.ready.as_deref());
        let domain = format!("{}.{}.svc", request.name, site.space.namespace);
        Ok(Service(Arc::new(ServiceParts {
            internal: request.port.map(|port| Endpoint { host: domain, port }),
            host,
            ports: request.ports.keys().cloned().zip(endpoints).collect(),
            workload: Arc::new(Deployment {
                name: request.name.clone(),
                probe,
                forward: reached.process,
                provenance: None,
                adopted: false,
                site: site.clone(),
            }),
            name: request.name,
        })))
    }
}

/// What a request comes to in a pod, but for where that is.
fn values<'a>(
    request: &'a ServiceRequest,
    reference: &'a str,
    secrets: &Secrets,
) -> Result<Values<'a>, Failure> {
    let main = request.port.map(|number| Port { name: "main".to_owned(), number });
    let more = request.ports.iter().map(|(name, number)| Port { name: name.clone(), number: *number });
    let ports: Vec<Port> = main.into_iter().chain(more).collect();

    let mut given = BTreeMap::from([("HOST".to_owned(), "0.0.0.0".to_owned())]);
    if !request.files.is_empty() {
        given.insert("FILES".to_owned(), FILES.to_owned());
    }
    if let Some(port) = request.port {
        given.insert(port_variable(""), port.to_string());
    }
    given.extend(request.ports.iter().map(|(name, port)| (port_variable(name), port.to_string())));
    let env = expand(given, &request.env);
    let resolve = |words: &[String]| words.iter().map(|word| literal(&substitute(word, &env))).collect();
    let command = request.command.clone().map(|words| resolve(&in_container(words, request.image.as_ref())));
    let args = resolve(&request.args);
    let is_secret = |text: &str| secrets.masked(text) != text;
    // What comes from a Secret is taken as it is; what stands in the manifest
    // is searched for references once more.
    let (secret_env, env): (BTreeMap<_, _>, BTreeMap<_, _>) =
        env.into_iter().partition(|(_, value)| is_secret(value));
    let env = env.into_iter().map(|(name, value)| (name, literal(&value))).collect();

    let (secret_files, files): (Vec<_>, Vec<_>) = request
        .files
        .iter()
        .enumerate()
        .map(|(i, (path, text))| file(i, path, text))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .partition(|file| is_secret(&file.text));
    Ok(Values {
        name: &request.name,
        namespace: "",
        run: "",
        image: reference,
        replicas: request.replicas,
        command,
        args,
        env,
        secret_env,
        files,
        secret_files,
        files_at: FILES,
        ports,
        ready: None,
    })
}

/// The command line in a container, where the image's program has a path of
/// its own; as on the local target its name means the program.
fn in_container(mut words: Vec<String>, image: Option<&Image>) -> Vec<String> {
    let binary = image.and_then(|image| Some((&image.name, image.binary.as_ref()?.file_name()?)));
    if let (Some((name, binary)), Some(first)) = (binary, words.first_mut())
        && binary == first.as_str()
    {
        *first = program_path(name);
    }
    words
}

/// Keeps Kubernetes from looking for references in what is resolved.
fn literal(text: &str) -> String {
    text.replace("$(", "$$(")
}

fn file(index: usize, path: &str, text: &str) -> Result<File, Failure> {
    let plain =
        std::path::Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || path.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            format!("option `files` has the name `{path}`, which leaves its folder"),
        )
        .hint("name files relative to $(FILES), such as \"config.yaml\""));
    }
    Ok(File { key: format!("file.{index}"), path: path.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ServiceRequest {
        ServiceRequest {
            name: "shop".to_owned(),
            image: Some(Image::named("shop:1".to_owned())),
            command: None,
            args: vec!["--listen=$(HOST):$(PORT)".to_owned(), "$$(PORT)".to_owned()],
            env: BTreeMap::from([
                ("DATABASE_URL".to_owned(), "postgres://u:hunter22@db/x".to_owned()),
                ("METRICS".to_owned(), "$(PORT_METRICS)".to_owned()),
            ]),
            files: BTreeMap::from([
                ("config.yaml".to_owned(), "a: 1".to_owned()),
                ("keys/token".to_owned(), "hunter22".to_owned()),
            ]),
            port: Some(8080),
            ports: BTreeMap::from([("metrics".to_owned(), 9090)]),
            host_port: None,
            ready: Some("readyz".to_owned()),
            replicas: 1,
            manifest: None,
        }
    }

    #[test]
    fn secrets_go_to_the_secret_alone() {
        let secrets = Secrets::default();
        secrets.add("hunter22");
        let request = request();
        let values = values(&request, "shop:1", &secrets).unwrap();
        assert_eq!(values.args, ["--listen=0.0.0.0:8080", "$$(PORT)"]);
        assert_eq!(values.env["METRICS"], "9090");
        assert_eq!(values.secret_env.keys().collect::<Vec<_>>(), ["DATABASE_URL"]);
        assert_eq!(values.secret_files[0].path, "keys/token");
        let manifest = template::render(None, &template::SERVICE, &values).unwrap();
        let kinds: Vec<_> =
            manifest.objects.iter().map(|object| object.types.as_ref().unwrap().kind.as_str()).collect();
        assert_eq!(kinds, ["Secret", "ConfigMap", "Service", "Deployment"]);
        let plain = &manifest.objects[1..];
        assert!(!serde_json::to_string(plain).unwrap().contains("hunter22"));
    }

    #[test]
    fn the_name_of_a_program_means_the_program() {
        let image = Image { binary: Some("target/release/shop".into()), ..Image::named("shop:1".to_owned()) };
        let image = Image { name: "shop".into(), ..image };
        let words = |first: &str| vec![first.to_owned(), "-v".to_owned()];
        assert_eq!(in_container(words("shop"), Some(&image)), ["/app/shop", "-v"]);
        assert_eq!(in_container(words("sh"), Some(&image)), ["sh", "-v"]);
        assert_eq!(in_container(words("shop"), None), ["shop", "-v"]);
    }

    #[test]
    fn the_least_service_is_a_deployment() {
        let request = ServiceRequest {
            args: Vec::new(),
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            port: None,
            ports: BTreeMap::new(),
            ready: None,
            ..request()
        };
        let values = values(&request, "shop:1", &Secrets::default()).unwrap();
        let manifest = template::render(None, &template::SERVICE, &values).unwrap();
        assert_eq!(manifest.objects.len(), 1);
    }
}
