//! `recipe doc`.

mod editors;
mod man;

use serde_json::json;

use super::{Done, pager, terminal};
use crate::cli::{DocArgs, DocFormat};
use crate::exit;
use crate::primitives;
use crate::run::{Failure, Kind};
use crate::script::{Family, Opt, Primitive, suggest};

pub(super) fn doc(args: &DocArgs) -> Done {
    let chosen = chosen(args.name.as_deref())?;
    let text = match args.format {
        DocFormat::Json => return terminal::print_json(&json(&chosen)).map(|()| exit::DONE),
        DocFormat::Grammar => {
            return terminal::print_json(&editors::grammar(&chosen)).map(|()| exit::DONE);
        }
        DocFormat::Snippets => {
            return terminal::print_json(&editors::snippets(&chosen)).map(|()| exit::DONE);
        }
        DocFormat::Markdown => markdown(&chosen),
        DocFormat::Man => man::man(&chosen),
        DocFormat::Definitions => editors::definitions(&chosen),
        DocFormat::Text => text(args.name.as_deref())?,
    };
    pager::print(&text)?;
    Ok(exit::DONE)
}

/// The reference as a page of the manual.
pub(super) fn manual() -> String {
    man::man(&documented().collect::<Vec<_>>())
}

/// The reference for a terminal: a list, or the page of one primitive.
pub(super) fn text(name: Option<&str>) -> Result<String, Failure> {
    let chosen = chosen(name)?;
    Ok(if name.is_none() { list() } else { chosen.iter().map(|primitive| page(primitive)).collect() })
}

fn chosen(name: Option<&str>) -> Result<Vec<&'static Primitive>, Failure> {
    let Some(name) = name else { return Ok(documented().collect()) };
    let chosen: Vec<_> = documented().filter(|primitive| primitive.name == name).collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let mut failure = Failure::new(Kind::Usage, format!("there is no primitive `{name}`"));
    let near = suggest::nearest(name, documented().map(|primitive| primitive.name));
    failure.hint = Some(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`recipe doc` lists them".to_owned(),
    });
    Err(failure)
}

/// All but what exists for recipe's own tests.
fn documented() -> impl Iterator<Item = &'static Primitive> {
    primitives::all().filter(|primitive| !primitive.name.starts_with("test_"))
}

fn list() -> String {
    let width = documented().map(|primitive| primitive.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for family in Family::ALL {
        let mut own = documented().filter(|primitive| primitive.family == family).peekable();
        if own.peek().is_none() {
            continue;
        }
        text.push_str(&format!("{family}\n"));
        for primitive in own {
            text.push_str(&entry(primitive.name, width, primitive.summary()));
        }
    }
    text.push_str("\n`recipe doc NAME` shows options and an example.\n");
    text
}

fn page(primitive: &Primitive) -> String {
    let mut text = format!("{}\n\n", primitive.signature());
    for paragraph in primitive.doc.split("\n\n") {
        text.push_str(&indent(&wrap(paragraph, columns().saturating_sub(2).min(90))));
        text.push('\n');
    }
    let given: Vec<_> =
        primitive.params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
    if !given.is_empty() {
        text.push_str(&format!("parameters\n{}\n", indent(&given.join("\n"))));
    }
    if !primitive.options.is_empty() {
        let width = primitive.options.iter().map(|option| option.name.len()).max().unwrap_or_default();
        let options = primitive.options.iter();
        let options: String = options.map(|option| entry(option.name, width, &explain(option))).collect();
        text.push_str(&format!("options\n{options}\n"));
    }
    text.push_str(&format!("example\n{}", indent(primitive.example)));
    text
}

/// A name in a column of its own, and what is said of it within the terminal.
fn entry(name: &str, width: usize, said: &str) -> String {
    let before = width + 4;
    let said = wrap(said, columns().saturating_sub(before).max(20));
    format!("  {name:width$}  {}\n", said.replace('\n', &format!("\n{:before$}", "")))
}

/// Columns of the terminal; without one lines are as long as they are, for
/// programs that look for words.
fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

fn explain(option: &Opt) -> String {
    format!("{} ({})", option.doc, option.takes())
}

fn markdown(chosen: &[&Primitive]) -> String {
    let mut text = "| primitive | what it does |\n|---|---|\n".to_owned();
    for primitive in chosen {
        text.push_str(&format!(
            "| `{}` | {} |\n",
            primitive.signature().replace('|', "\\|"),
            primitive.summary()
        ));
    }
    text
}

fn json(chosen: &[&Primitive]) -> serde_json::Value {
    let option = |option: &Opt| json!({ "name": option.name, "type": option.ty.to_string(), "default": option.default, "doc": option.doc });
    chosen
        .iter()
        .map(|primitive| {
            let params: Vec<_> = primitive
                .params
                .iter()
                .map(|param| json!({ "name": param.name, "type": param.ty.to_string(), "required": param.required }))
                .collect();
            json!({
                "name": primitive.name, "family": primitive.family.to_string(), "signature": primitive.signature(),
                "params": params, "options": primitive.options.iter().map(option).collect::<Vec<_>>(),
                "returns": primitive.returns, "doc": primitive.doc, "example": primitive.example,
            })
        })
        .collect()
}

fn wrap(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
