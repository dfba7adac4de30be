//! The reference as a page of the manual, in roff.

use super::explain;
use crate::script::{Family, Primitive};

/// The page `recipe-primitives(7)`.
pub(super) fn man(chosen: &[&Primitive]) -> String {
    let mut page = format!(
        ".TH RECIPE-PRIMITIVES 7 \"\" \"recipe {}\"\n.SH NAME\nrecipe-primitives \\- what recipes can call\n",
        env!("CARGO_PKG_VERSION")
    );
    for family in Family::ALL {
        let own: Vec<_> = chosen.iter().filter(|primitive| primitive.family == family).collect();
        if own.is_empty() {
            continue;
        }
        page.push_str(&format!(".SH {}\n", family.to_string().to_uppercase()));
        for primitive in own {
            page.push_str(&format!(".SS \"{}\"\n", escape(&primitive.signature())));
            for paragraph in primitive.doc.split("\n\n") {
                page.push_str(&format!("{}\n.PP\n", line(paragraph)));
            }
            for option in primitive.options {
                page.push_str(&format!(".TP\n.B {}\n{}\n", escape(option.name), line(&explain(option))));
            }
            page.push_str(".PP\n.EX\n");
            for text in primitive.example.lines() {
                page.push_str(&line(text));
                page.push('\n');
            }
            page.push_str(".EE\n");
        }
    }
    page
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('"', "\\(dq").replace('-', "\\-")
}

/// A line of text: one that begins with a dot or an apostrophe would be a request.
fn line(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\`");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
