//! Names of images.

use crate::run::{Failure, Kind};

/// The registry that exists nowhere, for what is built here: nothing ever
/// tries to pull from a name that it does not own.
const LOCAL: &str = "recipe.local";

/// The reference of an image that is built here.
///
/// # Errors
/// When `name` has characters that a reference cannot have.
pub(super) fn local(name: &str, tag: &str) -> Result<String, Failure> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separates = |c: char| matches!(c, '.' | '_' | '-' | '/');
    let wrong = !name.starts_with(fits)
        || !name.ends_with(fits)
        || name.contains(|c| !fits(c) && !separates(c))
        || name.contains("//")
        || name.contains("..");
    if wrong {
        return Err(Failure::new(Kind::Usage, format!("`{name}` cannot be the name of an image"))
            .hint("use lower case letters, digits and single `-`, `_`, `.` or `/` between them"));
    }
    Ok(format!("{LOCAL}/{name}:{tag}"))
}

/// The reference that a user asked for: a tag alone, or all of it.
///
/// # Errors
/// When it is none.
pub(super) fn wanted(name: &str, tag: &str) -> Result<String, Failure> {
    let wrong = tag.is_empty()
        || tag.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/' | ':'));
    if wrong {
        return Err(Failure::new(Kind::Usage, format!("`{tag}` cannot be the tag of an image"))
            .hint("give a tag such as `v1`, or a whole reference such as `registry.example/app:v1`"));
    }
    if !tag.contains(['/', ':']) {
        return local(name, tag);
    }
    let (repository, tag) = split(tag);
    Ok(format!("{repository}:{tag}"))
}

/// Repository and tag, `latest` when it has none. A digest counts as the tag.
pub(super) fn split(reference: &str) -> (&str, &str) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (repository, digest);
    }
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[name..].rfind(':') {
        Some(colon) => (&reference[..name + colon], &reference[name + colon + 1..]),
        None => (reference, "latest"),
    }
}

/// The host that serves a repository; Docker Hub's when it names none.
pub(super) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// The full form that Kubernetes and containerd know an image by.
pub(super) fn normalised(reference: &str) -> String {
    let (repository, tag) = split(reference);
    let separator = if reference.contains('@') { '@' } else { ':' };
    let repository = match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    };
    format!("{repository}{separator}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart_and_completed() {
        let cases = [
            ("postgres", "docker.io/library/postgres:latest", "docker.io"),
            ("postgres:16-alpine", "docker.io/library/postgres:16-alpine", "docker.io"),
            ("team/app:v1", "docker.io/team/app:v1", "docker.io"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000"),
            ("recipe.local/a/b:0123", "recipe.local/a/b:0123", "recipe.local"),
            ("ghcr.io/a@sha256:00", "ghcr.io/a@sha256:00", "ghcr.io"),
        ];
        for (reference, full, host) in cases {
            assert_eq!((normalised(reference).as_str(), registry(reference)), (full, host));
        }
    }

    #[test]
    fn a_tag_may_be_a_whole_reference() {
        assert_eq!(wanted("app", "v1").unwrap(), "recipe.local/app:v1");
        assert_eq!(wanted("app", "localhost:5000/app").unwrap(), "localhost:5000/app:latest");
        for (name, tag) in [("App", "v1"), ("a//b", "v1"), ("app-", "v1"), ("app", "a b"), ("app", "")] {
            assert!(wanted(name, tag).is_err(), "{name} {tag}");
        }
    }
}
