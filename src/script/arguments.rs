//! The arguments of a call, checked against the primitive's entry in the table.

use std::collections::BTreeMap;
use std::time::Duration;

use rhai::{Array, Dynamic, Engine, FnPtr, Map};

use super::primitive::{Opt, Primitive, Type};
use super::suggest;
use super::unknown::{self, is_unknown};
use crate::run::duration;
use crate::run::{Failure, Kind, Secrets};

/// Characters of a title; the rest is in the recipe.
const LONGEST_TITLE: usize = 60;

/// Checked arguments, by the names of the primitive's parameters and options.
///
/// The getters read what the table declares; asking for a name or type that it
/// does not declare is a bug in recipe and panics, which the host turns into
/// a failure of kind `bug`.
pub struct Arguments {
    pub(super) primitive: &'static Primitive,
    pub(super) positional: Vec<Dynamic>,
    pub(super) options: Map,
}

/// An argument that does not fit, and where to point.
pub(super) struct Misfit {
    pub failure: Failure,
    /// The option at fault, where it is one.
    pub option: Option<String>,
    /// The argument at fault, from 0.
    pub argument: usize,
}

impl Arguments {
    /// Checks `values` against what `primitive` declares.
    pub(super) fn read(
        primitive: &'static Primitive,
        values: Vec<Dynamic>,
        engine: &Engine,
    ) -> Result<Self, Misfit> {
        let mut positional = Vec::with_capacity(values.len());
        let mut options = Map::new();
        for (argument, (param, value)) in primitive.params.iter().zip(values).enumerate() {
            if let Err(why) = check(param.ty, &value, engine) {
                let failure = Failure::new(Kind::Usage, format!("`{}` {why}", param.name))
                    .hint(format!("the call is {}", primitive.signature()));
                return Err(Misfit { failure, option: None, argument });
            }
            if param.ty == Type::Options {
                options = value.try_cast::<Map>().unwrap_or_default();
                check_options(primitive, &options, engine).map_err(|(option, failure)| Misfit {
                    failure,
                    option: Some(option),
                    argument,
                })?;
                positional.push(Dynamic::UNIT);
            } else {
                positional.push(value);
            }
        }
        Ok(Self { primitive, positional, options })
    }

    /// What a step with these arguments is called in reports: the name it
    /// gives to something new, else its first string, else its last handle.
    pub(super) fn title(&self, name_of: fn(&Dynamic) -> Option<String>, secrets: &Secrets) -> String {
        let given = self.declared("name").and_then(|_| self.string("name"));
        let text = || self.positional.iter().find(|value| value.is_string() || value.is_int());
        let named = |value: &Dynamic| unknown::name_of(value).or_else(|| name_of(value));
        let title = given
            .or_else(|| text().map(ToString::to_string))
            .or_else(|| self.positional.iter().rev().find_map(named))
            .unwrap_or_default();
        // First, so that none is cut in two.
        let title = secrets.masked(&title);
        let line = title.trim().lines().next().unwrap_or_default();
        if line.chars().count() > LONGEST_TITLE {
            line.chars().take(LONGEST_TITLE - 1).chain(['…']).collect()
        } else {
            line.to_owned()
        }
    }

    /// The first argument, where it is a duration.
    pub(super) fn duration_of_first(&self) -> Option<Duration> {
        let first = self.primitive.params.first().filter(|first| first.ty == Type::Duration)?;
        self.get(first.name).and_then(|value| to_duration(&value).ok())
    }

    pub(super) fn declared(&self, name: &str) -> Option<&'static Opt> {
        self.primitive.options.iter().find(|option| option.name == name)
    }

    /// The value of a parameter or option; none when left out and without default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Dynamic> {
        if let Some(i) = self.primitive.params.iter().position(|param| param.name == name) {
            return self.positional.get(i).cloned();
        }
        let option = self.declared(name);
        assert!(option.is_some(), "`{}` does not declare `{name}`", self.primitive.name);
        self.options.get(name).filter(|value| !value.is_unit()).cloned()
    }

    fn default(&self, name: &str) -> Option<&'static str> {
        self.declared(name).and_then(|option| option.default)
    }

    /// A string, or any scalar as text.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string()).or_else(|| self.default(name).map(str::to_owned))
    }

    /// A required string, or one with a default.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.string(name).unwrap_or_default()
    }

    /// A whole number.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<usize> {
        let given =
            self.get(name).and_then(|value| value.as_int().ok()).and_then(|n| usize::try_from(n).ok());
        given.or_else(|| self.default(name).and_then(|text| text.parse().ok()))
    }

    /// A number to multiply with.
    #[must_use]
    pub fn factor(&self, name: &str) -> Option<f64> {
        let given = self.get(name).and_then(|value| to_number(&value));
        given.or_else(|| self.default(name).and_then(|text| text.parse().ok()))
    }

    /// A TCP port.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.count(name).and_then(|port| u16::try_from(port).ok())
    }

    /// A flag; false when left out.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(|value| value.as_bool().ok()).unwrap_or(self.default(name) == Some("true"))
    }

    /// A duration.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let given = self.get(name).and_then(|value| to_duration(&value).ok());
        given.or_else(|| self.default(name).and_then(|text| duration::parse(text).ok()))
    }

    /// An array.
    #[must_use]
    pub fn array(&self, name: &str) -> Option<Array> {
        self.get(name).and_then(Dynamic::try_cast::<Array>)
    }

    /// An array of strings.
    #[must_use]
    pub fn strings(&self, name: &str) -> Option<Vec<String>> {
        self.array(name).map(|items| items.iter().map(ToString::to_string).collect())
    }

    /// A map of scalars, as text, in the order of the keys.
    #[must_use]
    pub fn string_map(&self, name: &str) -> BTreeMap<String, String> {
        let map = self.get(name).and_then(Dynamic::try_cast::<Map>).unwrap_or_default();
        map.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    /// A map of ports.
    #[must_use]
    pub fn port_map(&self, name: &str) -> BTreeMap<String, u16> {
        let ports = self.string_map(name).into_iter();
        ports.filter_map(|(name, port)| Some((name, port.parse().ok()?))).collect()
    }

    /// A closure.
    #[must_use]
    pub fn closure(&self, name: &str) -> Option<FnPtr> {
        self.get(name).and_then(Dynamic::try_cast::<FnPtr>)
    }

    /// A value of one of recipe's own types.
    #[must_use]
    pub fn handle<T: Clone + 'static>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(Dynamic::try_cast::<T>)
    }

    /// A required value of one of recipe's own types.
    #[must_use]
    pub fn the<T: Clone + 'static>(&self, name: &str) -> T {
        let handle = self.handle(name);
        handle.unwrap_or_else(|| panic!("`{}` declares `{name}` as another type", self.primitive.name))
    }
}

fn check_options(primitive: &Primitive, options: &Map, engine: &Engine) -> Result<(), (String, Failure)> {
    for (key, value) in options {
        let Some(option) = primitive.options.iter().find(|option| option.name == key.as_str()) else {
            let names = primitive.options.iter().map(|option| option.name);
            let mut failure = Failure::new(Kind::Usage, format!("unknown option `{key}`"));
            failure.hint = suggest::hint(key, names, "the options are");
            return Err((key.to_string(), failure));
        };
        // `()` means "as if left out", so that recipes can pass options through.
        if value.is_unit() {
            continue;
        }
        if let Err(why) = check(option.ty, value, engine) {
            let failure = Failure::new(Kind::Usage, format!("option `{key}` {why}")).hint(option.explain());
            return Err((key.to_string(), failure));
        }
    }
    Ok(())
}

/// A duration as a script gives it.
pub(crate) fn to_duration(value: &Dynamic) -> Result<Duration, String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return duration::parse(&text);
    }
    to_number(value).ok_or_else(|| "must be a duration".to_owned()).and_then(duration::from_seconds)
}

#[expect(clippy::cast_precision_loss, reason = "no one waits for 2^52 seconds")]
fn to_number(value: &Dynamic) -> Option<f64> {
    value.as_float().or_else(|_| value.as_int().map(|n| n as f64)).ok()
}

/// Why `value` is none of type `ty`, if it is not.
pub(super) fn check(ty: Type, value: &Dynamic, engine: &Engine) -> Result<(), String> {
    if is_unknown(value) {
        return Ok(());
    }
    let fits = match ty {
        Type::Any => true,
        Type::String => value.is_string(),
        Type::Bool => value.is_bool(),
        Type::Closure => value.is_fnptr(),
        Type::Array => value.is_array(),
        Type::Map | Type::Options => value.is_map(),
        Type::Handle(name) => engine.map_type_name(value.type_name()) == name,
        Type::OneOf(types) => types.iter().any(|ty| check(*ty, value, engine).is_ok()),
        Type::Count => match value.as_int() {
            Ok(n) if n < 0 => return Err(format!("must not be negative, got {n}")),
            found => found.is_ok(),
        },
        Type::Positive => match value.as_int() {
            Ok(n) if n < 1 => return Err(format!("must be at least 1, got {n}")),
            found => found.is_ok(),
        },
        Type::Factor => match to_number(value) {
            Some(n) if !(1.0..=100.0).contains(&n) => {
                return Err(format!("must be a number from 1 to 100, got {value}"));
            }
            found => found.is_some(),
        },
        Type::Port => match value.as_int() {
            Ok(n) if !(1..=65535).contains(&n) => {
                return Err(format!("must be a port from 1 to 65535, got {n}"));
            }
            found => found.is_ok(),
        },
        Type::Duration if value.is_string() || value.is_int() || value.is_float() => {
            return to_duration(value).map(|_| ()).map_err(|why| format!("is wrong: {why}"));
        }
        Type::Duration => false,
        Type::Choice(words) => {
            let text = value.as_immutable_string_ref().map(|text| text.to_string()).unwrap_or_default();
            if value.is_string() && !words.contains(&text.as_str()) {
                let near = suggest::nearest(&text, words.iter().copied());
                let mean = near.map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default();
                return Err(format!("must be {ty}, got \"{text}\"{mean}"));
            }
            value.is_string()
        }
        Type::Strings => return check_items(value, Type::String, "array of strings", engine),
        Type::StringMap => return check_values(value, ty, &is_scalar, engine),
        Type::PortMap => {
            return check_values(value, ty, &|value| check(Type::Port, value, engine).is_ok(), engine);
        }
    };
    if fits {
        Ok(())
    } else {
        let wanted = article(&ty.to_string().replace(" | ", " or "));
        Err(format!("must be {wanted}, got {}", describe(value, engine)))
    }
}

fn check_items(value: &Dynamic, item: Type, what: &str, engine: &Engine) -> Result<(), String> {
    let Some(items) = value.read_lock::<Array>() else {
        return Err(format!("must be {}, got {}", article(what), describe(value, engine)));
    };
    match items.iter().position(|value| check(item, value, engine).is_err()) {
        None => Ok(()),
        Some(i) => Err(format!("must be {}, but item {i} is {}", article(what), describe(&items[i], engine))),
    }
}

fn check_values(
    value: &Dynamic,
    ty: Type,
    fits: &dyn Fn(&Dynamic) -> bool,
    engine: &Engine,
) -> Result<(), String> {
    let Some(map) = value.read_lock::<Map>() else {
        return Err(format!("must be a {ty}, got {}", describe(value, engine)));
    };
    match map.iter().find(|(_, value)| !fits(value)) {
        None => Ok(()),
        Some((key, value)) => Err(format!("must be a {ty}, but `{key}` is {}", describe(value, engine))),
    }
}

fn is_scalar(value: &Dynamic) -> bool {
    is_unknown(value)
        || value.is_string()
        || value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_char()
}

/// `a string`, `42 (an int)`: what a script passed, for people.
fn describe(value: &Dynamic, engine: &Engine) -> String {
    if value.is_unit() {
        return "nothing, `()`".to_owned();
    }
    let name = match engine.map_type_name(value.type_name()) {
        "i64" => "int",
        "f64" => "float",
        "Fn" => "closure",
        name => name,
    };
    if is_scalar(value) && !value.is_string() {
        format!("{value} ({})", article(name))
    } else {
        article(name)
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O']);
    if noun.starts_with('"') {
        format!("one of {noun}")
    } else {
        format!("{} {noun}", if vowel { "an" } else { "a" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_expected_and_what_was_given() {
        let engine = Engine::new();
        let cases: [(Type, Dynamic, &str); 10] = [
            (Type::String, 5.into(), "must be a string, got 5 (an int)"),
            (Type::Bool, "no".into(), "must be a bool, got a string"),
            (Type::Closure, Dynamic::UNIT, "must be a closure, got nothing, `()`"),
            (Type::Count, (-1).into(), "must not be negative, got -1"),
            (Type::Positive, 0.into(), "must be at least 1, got 0"),
            (Type::Factor, 0.5.into(), "must be a number from 1 to 100, got 0.5"),
            (Type::Port, 70_000.into(), "must be a port from 1 to 65535, got 70000"),
            (
                Type::Strings,
                vec![Dynamic::from("a"), 2.into()].into(),
                "must be an array of strings, but item 1 is 2 (an int)",
            ),
            (Type::Choice(&["goose", "plain"]), "gose".into(), "did you mean \"goose\"?"),
            (
                Type::OneOf(&[Type::Map, Type::Array]),
                true.into(),
                "must be a map or array, got true (a bool)",
            ),
        ];
        for (ty, value, expected) in cases {
            let why = check(ty, &value, &engine).unwrap_err();
            assert!(why.contains(expected), "{ty}: {why}");
        }
    }

    #[test]
    fn reads_durations_in_both_forms() {
        assert_eq!(to_duration(&"1m30s".into()), Ok(Duration::from_secs(90)));
        assert_eq!(to_duration(&0.25.into()), Ok(Duration::from_millis(250)));
        assert_eq!(to_duration(&2.into()), Ok(Duration::from_secs(2)));
        assert!(to_duration(&(-1).into()).is_err());
    }
}
