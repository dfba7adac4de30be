//! Values as people read them at a prompt.

use rhai::{Array, Dynamic, Map};
use unicode_width::UnicodeWidthStr;

use crate::run::Secrets;

/// Columns of one cell of a table, at most.
const WIDEST_CELL: usize = 48;
/// Columns that a map or array may have on one line.
const WIDEST_LINE: usize = 80;

/// A value as text, secrets masked: rows of a database as a table, everything
/// else as a recipe would write it.
pub(super) fn show(value: &Dynamic, name_of: fn(&Dynamic) -> Option<String>, secrets: &Secrets) -> String {
    if let Some(text) = value.read_lock::<rhai::ImmutableString>()
        && text.contains('\n')
    {
        return secrets.masked(text.trim_end());
    }
    if let Some(table) = value.read_lock::<Array>().and_then(|rows| table(&rows, name_of, secrets)) {
        return table;
    }
    secrets.masked(&literal(value, name_of, 0))
}

/// The rows that SQL returns: an array of maps with the same keys.
fn table(rows: &Array, name_of: fn(&Dynamic) -> Option<String>, secrets: &Secrets) -> Option<String> {
    let maps: Vec<Map> = rows.iter().map(|row| row.clone().try_cast::<Map>()).collect::<Option<_>>()?;
    let first = maps.first().filter(|first| !first.is_empty())?;
    let columns: Vec<String> = first.keys().map(ToString::to_string).collect();
    if !maps.iter().all(|map| map.keys().map(ToString::to_string).eq(columns.iter().cloned())) {
        return None;
    }
    let cell = |value: &Dynamic| {
        let text = match value.read_lock::<rhai::ImmutableString>() {
            Some(text) => text.to_string(),
            None if value.is_unit() => String::new(),
            None => literal(value, name_of, 0),
        };
        // First, so that none is cut in two.
        let line = secrets.masked(&text).replace('\n', "⏎");
        if line.width() > WIDEST_CELL {
            line.chars().take(WIDEST_CELL - 1).chain(['…']).collect()
        } else {
            line
        }
    };
    let mut lines = vec![columns];
    lines.extend(maps.iter().map(|map| map.values().map(cell).collect()));
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line: &Vec<String>| line[column].width()).max().unwrap_or_default())
        .collect();
    lines.insert(1, widths.iter().map(|width| "─".repeat(*width)).collect());
    let line = |cells: &Vec<String>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width()))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    Some(lines.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn literal(value: &Dynamic, name_of: fn(&Dynamic) -> Option<String>, depth: usize) -> String {
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return format!("{:?}", text.as_str());
    }
    if let Some(items) = value.read_lock::<Array>() {
        let items = items.iter().map(|item| literal(item, name_of, depth + 1)).collect();
        return bracketed("[", items, "]", depth);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let items =
            map.iter().map(|(key, item)| format!("{key}: {}", literal(item, name_of, depth + 1))).collect();
        return bracketed("#{", items, "}", depth);
    }
    if value.is_unit() {
        return "()".to_owned();
    }
    match name_of(value) {
        Some(name) => {
            let ty = value.type_name().rsplit("::").next().unwrap_or_default();
            format!("{ty}({name})")
        }
        None if value.is_fnptr() => "a closure".to_owned(),
        None => value.to_string(),
    }
}

/// On one line where that is short enough, else an item a line.
fn bracketed(open: &str, items: Vec<String>, close: &str, depth: usize) -> String {
    let line = items.join(", ");
    if line.width() <= WIDEST_LINE && !line.contains('\n') {
        let gap = if open == "#{" && !items.is_empty() { " " } else { "" };
        return format!("{open}{gap}{line}{gap}{close}");
    }
    let indent = "  ".repeat(depth);
    let items: Vec<_> = items.iter().map(|item| format!("{indent}  {item},\n")).collect();
    format!("{open}\n{}{indent}{close}", items.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> String {
        show(&rhai::Engine::new().eval::<Dynamic>(script).unwrap(), |_| None, &Secrets::default())
    }

    #[test]
    fn rows_are_a_table() {
        let text = shown(r#"[#{name: "pear", price: 3}, #{name: "apple", price: ()}]"#);
        assert_eq!(text, "name   price\n─────  ─────\npear   3\napple");
    }

    #[test]
    fn other_values_are_as_a_recipe_writes_them() {
        assert_eq!(shown(r#""a \"b\"""#), r#""a \"b\"""#);
        assert_eq!(shown("`two\nlines`"), "two\nlines");
        assert_eq!(shown("#{a: [1, 2.5, ()], b: true}"), "#{ a: [1, 2.5, ()], b: true }");
        assert_eq!(shown("[]"), "[]");
        assert_eq!(shown("|| 1"), "a closure");
        assert!(shown("let a = []; for i in 0..40 { a.push(1000 + i) } a").starts_with("[\n  1000,\n"));
    }
}
