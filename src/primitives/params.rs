//! What goes into a run and what comes out of it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use rhai::{Array, Dynamic, Map};
use serde_json::Value;

use super::{DONE, Done};
use crate::run::event::{EventKind, Level};
use crate::run::secrets::Hidden;
use crate::run::{Failure, Kind, Secrets, duration};
use crate::script::json::{from_json, to_json};
use crate::script::suggest;
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Program, Reach, Run, Type};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "param",
        family: Family::Host,
        reach: Reach::Run,
        params: &[Param::new("name", Type::String), Param::optional("default", Type::Any), Param::options()],
        options: &[
            Opt::new("help", Type::String, "what it is for"),
            Opt::new("choices", Type::Array, "the values it may have"),
            Opt::new("type", Type::Choice(&TYPES), "what it is, where `default` does not show it"),
            Opt::with_default("secret", Type::Bool, "false", "mask its value wherever recipe shows text"),
        ],
        returns: "any",
        doc: "Returns a parameter of the recipe, as given by `--set NAME=VALUE` or `--params FILE`.\n\n\
              The value is read as the `type`, or as that of `default`; without `default` it must be given. The \
              variable `RECIPE_PARAM_NAME` gives it too; `--set` wins over it, and it over the file. \
              `recipe run RECIPE --help` lists the recipe's parameters.",
        example: r#"let replicas = param("replicas", 1, #{ help: "how many workers", choices: [1, 2, 3] });
print(replicas + 1);"#,
        run: Run::Value(param),
    },
    Primitive {
        name: "output",
        family: Family::Host,
        reach: Reach::Run,
        params: &[Param::new("values", Type::Map)],
        options: &[],
        returns: "",
        doc: "Sets outputs of the run: what tests need to know, such as URLs.\n\n\
              They are printed at the end with secrets masked, are the `outputs` of `--output json`, and \
              `recipe env` prints them as environment variables.",
        example: r#"output(#{ url: "http://127.0.0.1:8080", replicas: 2 });"#,
        run: Run::Value(output),
    },
];

fn param(call: &Call, args: &Arguments) -> Done {
    let parameter = Parameter {
        name: args.text("name"),
        default: args.get("default").filter(|default| !default.is_unit()).map(|default| to_json(&default)),
        ty: args.string("type").or_else(|| args.get("default").as_ref().and_then(type_of).map(str::to_owned)),
        help: args.string("help"),
        choices: args.array("choices").unwrap_or_default().iter().map(ToString::to_string).collect(),
        secret: args.flag("secret"),
    };
    let given = call.host().environment.params.get(&parameter.name);
    if parameter.secret
        && let Some(value) = given.or(parameter.default.as_ref())
    {
        let name = &parameter.name;
        let text = match hide(value, call.host().events.secrets()) {
            Hidden::Everywhere => None,
            Hidden::AsWord => {
                Some(format!("the secret `{name}` is so short that it is masked as a word only"))
            }
            Hidden::Nowhere => Some(format!("the secret `{name}` is too short to be masked")),
        };
        if let Some(text) = text {
            call.step.message(Level::Warning, text);
        }
    }
    match (given, &parameter.default) {
        (Some(given), _) => Ok(from_json(&parameter.read(given)?)),
        (None, Some(default)) => {
            parameter.read(default)?;
            Ok(args.get("default").unwrap_or_default())
        }
        (None, None) => {
            let name = &parameter.name;
            Err(Failure::new(Kind::Usage, format!("the parameter `{name}` must be given"))
                .hint(format!("run the recipe with --set {name}=VALUE")))
        }
    }
}

/// Masks a value, and all that is in it. Says how well that can be done where it
/// is done least.
fn hide(value: &Value, secrets: &Secrets) -> Hidden {
    let worst = |parts: Vec<&Value>| parts.into_iter().map(|part| hide(part, secrets)).max();
    match value {
        Value::Array(items) => worst(items.iter().collect()).unwrap_or(Hidden::Everywhere),
        Value::Object(fields) => worst(fields.values().collect()).unwrap_or(Hidden::Everywhere),
        Value::Null | Value::Bool(_) => Hidden::Everywhere,
        Value::String(text) if text.is_empty() => Hidden::Everywhere,
        Value::String(_) | Value::Number(_) => secrets.add(&text(value)),
    }
}

/// Masks the secret parameters of a recipe before it begins, as far as they are
/// named literally.
pub fn hide_params(program: &Program, params: &BTreeMap<String, Value>, secrets: &Secrets) {
    let declared = declared(program).unwrap_or_default();
    for parameter in declared.iter().filter(|parameter| parameter.secret) {
        params.get(&parameter.name).or(parameter.default.as_ref()).map(|value| hide(value, secrets));
    }
}

/// What a parameter may be.
const TYPES: [&str; 7] = ["string", "int", "float", "bool", "duration", "array", "map"];

/// A parameter as a recipe declares it.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The value when it is not given.
    pub default: Option<Value>,
    /// What it is; none for text or whatever a file holds.
    pub ty: Option<String>,
    /// What it is for.
    pub help: Option<String>,
    /// The values it may have, as text.
    pub choices: Vec<String>,
    /// Whether its value is masked.
    pub secret: bool,
}

impl Parameter {
    /// `int, default 1, one of 1, 2, 3`.
    #[must_use]
    pub fn takes(&self) -> String {
        let mut parts = vec![self.ty.clone().unwrap_or_else(|| "string".to_owned())];
        parts.push(match &self.default {
            None => "must be given".to_owned(),
            Some(_) if self.secret => "has a default".to_owned(),
            Some(default) => format!("default {default}"),
        });
        if !self.choices.is_empty() {
            parts.push(format!("one of {}", self.choices.join(", ")));
        }
        if self.secret {
            parts.push("secret".to_owned());
        }
        parts.join(", ")
    }

    /// Reads a value from the command line, where all are text, or from a file.
    ///
    /// # Errors
    /// When it is of another type, or none of the choices.
    pub fn read(&self, given: &Value) -> Result<Value, Failure> {
        let name = &self.name;
        let text = text(given);
        let parsed = || serde_json::from_str::<Value>(&text).ok();
        let (value, wanted) = match self.ty.as_deref() {
            Some("int") => (text.parse::<i64>().ok().map(Value::from), "a whole number"),
            Some("float") => (text.parse::<f64>().ok().map(Value::from), "a number"),
            Some("bool") => (text.parse::<bool>().ok().map(Value::from), "true or false"),
            Some("array") => (parsed().filter(Value::is_array), "a JSON array"),
            Some("map") => (parsed().filter(Value::is_object), "a JSON object"),
            Some("duration") => {
                let number = text.parse::<f64>().is_ok();
                let fits = number || duration::parse(&text).is_ok();
                (fits.then(|| given.clone()), "a duration, such as 90s or 5m")
            }
            Some(_) => (Some(text.clone().into()), "text"),
            None => (Some(given.clone()), "anything"),
        };
        let shown = if self.secret { "***" } else { &text };
        let value = value.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("the parameter `{name}` must be {wanted}, got `{shown}`"))
        })?;
        if self.choices.is_empty() || self.choices.contains(&text) {
            return Ok(value);
        }
        let what =
            format!("the parameter `{name}` is {shown}, but must be one of {}", self.choices.join(", "));
        let mut failure = Failure::new(Kind::Usage, what);
        failure.hint = suggest::did_you_mean(&text, self.choices.iter().map(String::as_str));
        Err(failure)
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The type that a default shows.
fn type_of(default: &Dynamic) -> Option<&'static str> {
    let ty = if default.is_int() {
        "int"
    } else if default.is_float() {
        "float"
    } else if default.is_bool() {
        "bool"
    } else if default.is_array() {
        "array"
    } else if default.is_map() {
        "map"
    } else if default.is_unit() {
        return None;
    } else {
        "string"
    };
    Some(ty)
}

fn output(call: &Call, args: &Arguments) -> Done {
    let values = args.get("values").and_then(Dynamic::try_cast::<Map>).unwrap_or_default();
    let environment = &call.host().environment;
    for (name, value) in values {
        let event = EventKind::OutputSet { name: name.to_string(), value: to_json(&value) };
        call.host().events.emit(event);
        environment.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), value);
    }
    let outputs = Value::Object(environment.outputs_json());
    environment.folder.write_outputs(&outputs).map_err(|error| {
        Failure::new(
            Kind::Io,
            format!("the outputs cannot be written to {}", environment.folder.path.display()),
        )
        .cause(error)
    })?;
    DONE
}

/// The parameters that a recipe and its modules ask for, where all of them are
/// named literally; none where a name is computed.
#[must_use]
pub fn declared(program: &Program) -> Option<Vec<Parameter>> {
    let mut declared: Vec<Parameter> = Vec::new();
    for site in program.calls_of("param") {
        let (name, _) = site.text("name")?;
        if declared.iter().any(|known| known.name == name) {
            continue;
        }
        let literal = |name| site.literal(name).map(|(value, _)| value);
        let choices = literal("choices").and_then(|choices| choices.read_lock::<Array>().map(|c| c.clone()));
        declared.push(Parameter {
            name,
            // What is computed is a default all the same.
            default: site
                .gives("default")
                .then(|| literal("default").map_or(Value::Null, to_json))
                .filter(|_| !literal("default").is_some_and(Dynamic::is_unit)),
            ty: site
                .text("type")
                .map(|(ty, _)| ty)
                .or_else(|| literal("default").and_then(type_of).map(str::to_owned)),
            help: site.text("help").map(|(help, _)| help),
            choices: choices.unwrap_or_default().iter().map(ToString::to_string).collect(),
            secret: literal("secret").is_some_and(|secret| secret.as_bool() == Ok(true)),
        });
    }
    Some(declared)
}
