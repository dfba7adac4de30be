//! Manifests: YAML documents with Jinja expressions, rendered strictly.

use std::sync::Arc;

use kube::core::{DynamicObject, TypeMeta};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Deserialize;
use serde_json::Value as Json;

use super::patch;
use crate::run::failure::{offset_of, word_length};
use crate::run::{Excerpt, Failure, Kind};
use crate::targets::Template;

/// A manifest that recipe brings along, by its name in `manifests/`.
pub(super) struct BuiltIn {
    name: &'static str,
    text: &'static str,
}

pub(super) const POSTGRES: BuiltIn =
    BuiltIn { name: "postgres.yaml", text: include_str!("../../../manifests/postgres.yaml") };
pub(super) const REDIS: BuiltIn =
    BuiltIn { name: "redis.yaml", text: include_str!("../../../manifests/redis.yaml") };
pub(super) const SERVICE: BuiltIn =
    BuiltIn { name: "service.yaml", text: include_str!("../../../manifests/service.yaml") };

/// The manifests that recipe brings along, by the names that `recipe.toml` has
/// for them.
pub const SHIPPED: [&str; 3] = ["manifests/postgres.yaml", "manifests/redis.yaml", "manifests/service.yaml"];

/// A rendered manifest.
pub(super) struct Rendered {
    /// What it is called in errors.
    pub name: String,
    /// The text.
    pub text: String,
    /// The objects in it, in the order of the text.
    pub objects: Vec<DynamicObject>,
}

/// Renders the user's manifest, or else ours, which the user's may change, with
/// `values` and the user's own variables, which win.
pub(super) fn render(
    own: Option<&Template>,
    built_in: &BuiltIn,
    values: &impl serde::Serialize,
) -> Result<Rendered, Failure> {
    match own {
        Some(template) if template.is_patch => {
            let mut rendered = render_text(built_in.name, built_in.text, object(values))?;
            patch::apply(&mut rendered, render_file(template, values)?)?;
            Ok(rendered)
        }
        Some(template) => render_file(template, values),
        None => render_text(built_in.name, built_in.text, object(values)),
    }
}

/// Renders a manifest of the user's.
pub(super) fn render_file(template: &Template, values: &impl serde::Serialize) -> Result<Rendered, Failure> {
    let text = fs_err::read_to_string(&template.path).map_err(|error| {
        Failure::new(Kind::NotFound, format!("the manifest {} cannot be read", template.name)).cause(error)
    })?;
    let mut context = object(values);
    context.extend(template.vars.clone());
    render_text(&template.name, &text, context)
}

fn object(values: &impl serde::Serialize) -> serde_json::Map<String, Json> {
    match serde_json::to_value(values) {
        Ok(Json::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

fn render_text(name: &str, text: &str, values: serde_json::Map<String, Json>) -> Result<Rendered, Failure> {
    let environment = environment()?;
    let known: Vec<_> = values.keys().cloned().collect();
    let rendered = environment
        .template_from_named_str(name, text)
        .and_then(|template| template.render(Serde(&values)))
        .map_err(|error| unrenderable(name, text, &known, &error))?;
    Ok(Rendered { name: name.to_owned(), objects: parse(name, &rendered)?, text: rendered })
}

/// How manifests are rendered.
pub(super) fn environment<'a>() -> Result<Environment<'a>, Failure> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Left to the author: quoting by itself would break `{{ name }}-data`.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // Lines that hold nothing but blocks leave nothing.
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| Failure::new(Kind::Bug, "the syntax of manifests is wrong").cause(error))?,
    );
    Ok(environment)
}

pub(super) fn unrenderable(name: &str, text: &str, known: &[String], error: &minijinja::Error) -> Failure {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let mut failure = Failure::new(Kind::Usage, format!("the manifest {name} cannot be rendered: {what}"));
    if error.kind() == minijinja::ErrorKind::UndefinedError {
        failure = failure.hint(format!(
            "give the variable by the option `vars`; known here: {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ));
    }
    let line = error.line().unwrap_or(1);
    let span =
        error.range().map_or_else(|| (offset_of(text, line, 1), 1), |range| (range.start, range.len()));
    // What lacks its end is found behind it.
    let start = text.floor_char_boundary(span.0);
    let end = text.ceil_char_boundary(start + span.1);
    let span = (start, end - start);
    failure.excerpt = Some(Excerpt { file: name.to_owned(), text: text.into(), span, label: what });
    failure
}

/// Reads the documents of a manifest; empty ones are passed over.
pub(super) fn parse(name: &str, text: &str) -> Result<Vec<DynamicObject>, Failure> {
    let mut objects = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Json::deserialize(document).map_err(|error| unreadable(name, text, &error))?;
        if value.is_null() {
            continue;
        }
        let items = match value.get("items") {
            Some(Json::Array(items)) if is_list(&value) => items.clone(),
            _ => vec![value],
        };
        for item in items {
            objects.push(object_of(name, item)?);
        }
    }
    Ok(objects)
}

fn is_list(value: &Json) -> bool {
    value.get("kind").and_then(Json::as_str).is_some_and(|kind| kind.ends_with("List"))
}

fn object_of(name: &str, value: Json) -> Result<DynamicObject, Failure> {
    let lacks = |what: &str| {
        Failure::new(Kind::Usage, format!("a document of the manifest {name} has no `{what}`"))
            .hint("each document needs `apiVersion`, `kind` and `metadata.name`")
    };
    let object: DynamicObject = serde_json::from_value(value).map_err(|error| {
        Failure::new(Kind::Usage, format!("a document of the manifest {name} is no Kubernetes object"))
            .cause(error)
    })?;
    match &object.types {
        None => Err(lacks("apiVersion")),
        Some(TypeMeta { kind, .. }) if kind.is_empty() => Err(lacks("kind")),
        Some(TypeMeta { api_version, .. }) if api_version.is_empty() => Err(lacks("apiVersion")),
        Some(_) if object.metadata.name.is_none() => Err(lacks("metadata.name")),
        Some(_) => Ok(object),
    }
}

fn unreadable(name: &str, text: &str, error: &serde_norway::Error) -> Failure {
    let mut failure =
        Failure::new(Kind::Usage, format!("the manifest {name} is no YAML once it is rendered"))
            .cause(std::io::Error::other(error.to_string()));
    if let Some(location) = error.location() {
        let start = offset_of(text, location.line(), location.column());
        failure.excerpt = Some(Excerpt {
            file: format!("{name} (rendered)"),
            text: Arc::from(text),
            span: (start, word_length(&text[start..])),
            label: "here".to_owned(),
        });
    }
    failure
}

#[cfg(test)]
#[path = "template/fuzz_tests.rs"]
mod fuzz_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, values: &Json) -> Result<Rendered, Failure> {
        render_text("x.yaml", text, object(values))
    }

    #[test]
    fn a_variable_that_is_not_given_is_an_error_at_its_place() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: {{ nmae }} }\n";
        let failure = rendered(text, &serde_json::json!({ "name": "a" })).err().unwrap();
        assert!(failure.message.contains("x.yaml"), "{}", failure.message);
        assert!(failure.hint.as_deref().unwrap().ends_with("known here: name"));
        let (start, length) = failure.excerpt.as_ref().unwrap().span;
        assert_eq!(&text[start..start + length], "nmae");
    }

    #[test]
    fn documents_and_lists_become_objects_in_order() {
        let text = "---\napiVersion: v1\nkind: Service\nmetadata: { name: a }\n---\n---\napiVersion: v1\nkind: List\n\
                    items:\n- { apiVersion: v1, kind: Secret, metadata: { name: b } }\n";
        let objects = rendered(text, &serde_json::json!({})).unwrap().objects;
        let names: Vec<_> = objects.iter().map(|object| object.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_reason() {
        for (text, expected) in [
            ("kind: Secret\nmetadata: { name: a }\n", "has no `apiVersion`"),
            ("- 1\n", "is no Kubernetes object"),
            ("apiVersion: v1\nkind: Secret\nmetadata: {}\n", "has no `metadata.name`"),
            ("a: [1\n", "is no YAML"),
        ] {
            let failure = rendered(text, &serde_json::json!({})).err().unwrap();
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
