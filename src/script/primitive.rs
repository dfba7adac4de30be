//! What a primitive is: one entry of the table.
//!
//! The table is the single source of registration, argument checking,
//! `recipe doc`, `recipe check` and the reference in the README.

use std::fmt;

use futures::future::BoxFuture;
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use super::arguments::Arguments;
use super::call::Call;
use crate::run::Failure;

/// A function that recipes can call.
pub struct Primitive {
    /// Its name in scripts.
    pub name: &'static str,
    /// The chapter of the reference it belongs to.
    pub family: Family,
    /// What it can reach, by which `--untrusted` refuses it.
    pub reach: Reach,
    /// Positional parameters, in order; optional ones last.
    pub params: &'static [Param],
    /// Keys of the options map, where a parameter is of [`Type::Options`].
    pub options: &'static [Opt],
    /// What it returns, as a script-level type; empty for nothing.
    pub returns: &'static str,
    /// What it does, in Markdown. The first sentence stands alone in lists.
    pub doc: &'static str,
    /// A recipe that runs on the local target and shows it; run by the tests.
    pub example: &'static str,
    /// How it is executed.
    pub run: Run,
}

/// Chapters of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Clusters.
    Cluster,
    /// Images.
    Image,
    /// Databases and what is done to them.
    Data,
    /// The services under test.
    Services,
    /// Waiting until something is so.
    Waiting,
    /// This machine and the run itself.
    Host,
    /// Concurrency, time and structure.
    Control,
    /// What a program that embeds recipe has added.
    Own,
}

impl Family {
    /// All chapters, in the order of the reference.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Image,
        Self::Data,
        Self::Services,
        Self::Waiting,
        Self::Host,
        Self::Control,
        Self::Own,
    ];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "cluster",
            Self::Image => "image",
            Self::Data => "data",
            Self::Services => "services",
            Self::Waiting => "waiting",
            Self::Host => "host",
            Self::Control => "control",
            Self::Own => "own",
        })
    }
}

/// What a primitive or option can reach beyond the run, whatever a recipe asks
/// of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing but the run, its handles, and servers that recipe itself chooses.
    Run,
    /// Files: it asks [`Environment::path`](super::Environment::path) for each.
    Workspace,
    /// Addresses: it asks [`Environment::reaches`](super::Environment::reaches)
    /// for each.
    Network,
    /// Where the target runs things, programs that the recipe names: on `local`
    /// that is this machine. So is SQL there, whose superuser starts programs.
    Programs,
    /// This machine, or more than the others tell of. Say this when in doubt.
    Machine,
}

/// How a primitive is executed.
pub enum Run {
    /// At once, without being a step of the run.
    Value(fn(&Call, &Arguments) -> Result<Dynamic, Failure>),
    /// As a step: reported, cancellable, on the async runtime.
    Step(fn(Call, Arguments) -> BoxFuture<'static, Result<Dynamic, Failure>>),
    /// By calling back into the script.
    Control(fn(&NativeCallContext, Call, &Arguments) -> Result<Dynamic, Box<EvalAltResult>>),
}

/// A positional parameter.
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub ty: Type,
    /// Whether it must be given.
    pub required: bool,
}

/// A key of an options map.
pub struct Opt {
    /// The key.
    pub name: &'static str,
    /// What it takes.
    pub ty: Type,
    /// The value when it is left out, as it would be written in a recipe.
    pub default: Option<&'static str>,
    /// What it does, a sentence without its full stop.
    pub doc: &'static str,
    /// What it can reach that its primitive does not.
    pub reach: Option<Reach>,
}

impl Param {
    /// A parameter that must be given.
    #[must_use]
    pub const fn new(name: &'static str, ty: Type) -> Self {
        Self { name, ty, required: true }
    }

    /// A parameter that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, ty: Type) -> Self {
        Self { name, ty, required: false }
    }

    /// The options map, last.
    #[must_use]
    pub const fn options() -> Self {
        Self { name: "options", ty: Type::Options, required: false }
    }
}

impl Opt {
    /// An option without a default value.
    #[must_use]
    pub const fn new(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Self { name, ty, default: None, doc, reach: None }
    }

    /// An option with a default value.
    #[must_use]
    pub const fn with_default(
        name: &'static str,
        ty: Type,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, ty, default: Some(default), doc, reach: None }
    }
}

impl Opt {
    /// Says what it can reach that its primitive does not.
    #[must_use]
    pub const fn reaching(mut self, reach: Reach) -> Self {
        self.reach = Some(reach);
        self
    }

    /// `check (bool, default true): fail when the exit code is not 0`.
    #[must_use]
    pub fn explain(&self) -> String {
        format!("`{}` ({}): {}", self.name, self.takes(), self.doc)
    }

    /// Its type, and its default where it has one.
    #[must_use]
    pub fn takes(&self) -> String {
        let default = self.default.map(|default| format!(", default {default}")).unwrap_or_default();
        format!("{}{default}", self.ty)
    }
}

/// What a parameter or option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Anything.
    Any,
    /// A string.
    String,
    /// A whole number, 0 or more.
    Count,
    /// A whole number, 1 or more.
    Positive,
    /// A number from 1 to 100 to multiply with.
    Factor,
    /// A TCP port, 1 to 65535.
    Port,
    /// `true` or `false`.
    Bool,
    /// `"500ms"`, `"2m"`, or a number of seconds.
    Duration,
    /// An array of anything.
    Array,
    /// An array of strings.
    Strings,
    /// A map whose values are strings, numbers or booleans.
    StringMap,
    /// A map whose values are ports.
    PortMap,
    /// A map of anything.
    Map,
    /// A closure or function pointer.
    Closure,
    /// A value of one of recipe's own types, such as `Cluster`.
    Handle(&'static str),
    /// One of several words.
    Choice(&'static [&'static str]),
    /// Any of these.
    OneOf(&'static [Type]),
    /// The options map.
    Options,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String => f.write_str("string"),
            Self::Count | Self::Positive => f.write_str("int"),
            Self::Factor => f.write_str("number"),
            Self::Port => f.write_str("port"),
            Self::Bool => f.write_str("bool"),
            Self::Duration => f.write_str("duration"),
            Self::Array => f.write_str("array"),
            Self::Strings => f.write_str("array of strings"),
            Self::StringMap => f.write_str("map of strings"),
            Self::PortMap => f.write_str("map of ports"),
            Self::Map => f.write_str("map"),
            Self::Closure => f.write_str("closure"),
            Self::Handle(name) => f.write_str(name),
            Self::Choice(words) => write!(f, "\"{}\"", words.join("\" | \"")),
            Self::OneOf(types) => {
                for (i, ty) in types.iter().enumerate() {
                    write!(f, "{}{ty}", if i == 0 { "" } else { " | " })?;
                }
                Ok(())
            }
            Self::Options => f.write_str("map of options"),
        }
    }
}

impl Primitive {
    /// How few and how many arguments it takes.
    #[must_use]
    pub fn arity(&self) -> (usize, usize) {
        (self.params.iter().filter(|param| param.required).count(), self.params.len())
    }

    /// The call as the reference shows it: `migrate(postgres, dir, [options]) -> Postgres`.
    #[must_use]
    pub fn signature(&self) -> String {
        let params: Vec<_> = self
            .params
            .iter()
            .map(|param| match (param.ty, param.required) {
                (Type::Options, true) => "#{..}".to_owned(),
                (Type::Options, false) => "[#{..}]".to_owned(),
                (_, true) => param.name.to_owned(),
                (_, false) => format!("[{}]", param.name),
            })
            .collect();
        let returns = if self.returns.is_empty() { String::new() } else { format!(" -> {}", self.returns) };
        format!("{}({}){returns}", self.name, params.join(", "))
    }

    /// Whether it can be called as `value.name(..)` on a value of this type.
    #[must_use]
    pub fn is_method_of(&self, ty: &str) -> bool {
        let takes = |wanted: &Type| matches!(wanted, Type::Handle(name) if *name == ty);
        self.params.first().is_some_and(|first| match first.ty {
            Type::OneOf(types) => types.iter().any(takes),
            wanted => takes(&wanted),
        })
    }

    /// The first sentence of its documentation.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.doc.split("\n\n").next().unwrap_or_default()
    }
}
