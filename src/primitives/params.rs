//! What goes into a run and what comes out of it.

use std::sync::PoisonError;

use rhai::{Dynamic, Map};
use serde_json::Value;

use super::{DONE, Done};
use crate::run::event::EventKind;
use crate::run::{Failure, Kind};
use crate::script::json::{from_json, to_json};
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Program, Run, Type};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "param",
        family: Family::Host,
        params: &[Param::new("name", Type::String), Param::optional("default", Type::Any), Param::options()],
        options: &[
            Opt::new("help", Type::String, "what it is for"),
            Opt::new("choices", Type::Array, "the values it may have"),
            Opt::with_default("secret", Type::Bool, "false", "mask its value wherever recipe shows text"),
        ],
        returns: "any",
        doc: "Returns a parameter of the recipe, as given by `--set NAME=VALUE` or `--params FILE`.\n\n\
              The value is read as the type of `default`. Without `default` it must be given.",
        example: r#"let replicas = param("replicas", 1, #{ help: "how many workers", choices: [1, 2, 3] });
print(replicas + 1);"#,
        run: Run::Value(param),
    },
    Primitive {
        name: "output",
        family: Family::Host,
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
    let name = args.text("name");
    let default = args.get("default").filter(|default| !default.is_unit());
    let value = match (call.host().environment.params.get(&name), default) {
        (Some(given), default) => read_as(&name, given, default.as_ref())?,
        (None, Some(default)) => default,
        (None, None) => {
            return Err(Failure::new(Kind::Usage, format!("the parameter `{name}` must be given"))
                .hint(format!("run the recipe with --set {name}=VALUE")));
        }
    };
    if let Some(choices) = args.array("choices") {
        let texts: Vec<_> = choices.iter().map(ToString::to_string).collect();
        if !texts.contains(&value.to_string()) {
            let what = format!("the parameter `{name}` is {value}, but must be one of {}", texts.join(", "));
            return Err(Failure::new(Kind::Usage, what));
        }
    }
    if args.flag("secret") {
        call.host().events.secrets().add(&value.to_string());
    }
    Ok(value)
}

/// A value from the command line, where all are text, or from a file, as the
/// type of the default.
fn read_as(name: &str, given: &Value, default: Option<&Dynamic>) -> Done {
    let Some(default) = default else { return Ok(from_json(given)) };
    let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
    let parsed = || serde_json::from_str::<Value>(&text).ok();
    let (value, wanted) = if default.is_int() {
        (text.parse::<i64>().ok().map(Dynamic::from), "a whole number")
    } else if default.is_float() {
        (text.parse::<f64>().ok().map(Dynamic::from), "a number")
    } else if default.is_bool() {
        (text.parse::<bool>().ok().map(Dynamic::from), "true or false")
    } else if default.is_array() {
        (parsed().filter(Value::is_array).map(|json| from_json(&json)), "a JSON array")
    } else if default.is_map() {
        (parsed().filter(Value::is_object).map(|json| from_json(&json)), "a JSON object")
    } else {
        (Some(text.clone().into()), "text")
    };
    value.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the parameter `{name}` must be {wanted}, got `{text}`"))
    })
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
pub fn declared(program: &Program) -> Option<Vec<String>> {
    program.literal_arguments("param")
}
