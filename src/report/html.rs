//! The report of a run as one page of HTML: a timeline to zoom, search and
//! click through, and what the run was made of.
//!
//! The page holds all it needs and asks no network for anything. What is known
//! of the run is in it as JSON ([`data`]); the scripts build the page from it
//! with text nodes only, so that nothing a child process wrote can become
//! markup. Where scripts are not allowed, the text timeline is shown instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Model;
use super::timeline::timeline;
use crate::run::Event;
use data::Data;

mod data;

const STYLE: &str = concat!(include_str!("html/page.css"), include_str!("html/timeline.css"));

/// In the order of their evaluation: one script, in parts.
const SCRIPT: &str = concat!(
    include_str!("html/text.js"),
    include_str!("html/run.js"),
    include_str!("html/view.js"),
    include_str!("html/timeline.js"),
    include_str!("html/gestures.js"),
    include_str!("html/details.js"),
    include_str!("html/overview.js"),
    include_str!("html/main.js"),
);

/// Columns of the text timeline.
const COLUMNS: usize = 110;

/// Renders the events of a run, live or from a record, as a page of HTML.
///
/// `sources` holds the texts of the recipe and its modules by the file names
/// that positions in `events` have. They are shown as they are: secrets must
/// have been masked. A step of a file that is not there lacks its line.
#[must_use]
pub fn html(events: &[Event], sources: &BTreeMap<Arc<str>, Arc<str>>) -> String {
    let model = Model::of(events);
    let text = anstream::adapter::strip_str(&timeline(&model, COLUMNS)).to_string();
    format!(
        include_str!("html/page.html"),
        title = escaped(&format!("{} · {}", model.recipe, model.run_id)),
        style = STYLE,
        text = escaped(&text),
        data = inert(&Data::new(&model, events, sources)),
        script = SCRIPT,
    )
}

/// `text` as the text of an element.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// JSON that can stand in a `script` element: without `<` there is no tag or
/// comment in it that could end the element.
fn inert(data: &Data<'_>) -> String {
    let json = serde_json::to_string(data).expect("numbers, text, and maps with keys of text");
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::Outcome;
    use crate::run::event::{Level, StepKind};

    const HOSTILE: &str = "</script><!--<script><img src=x onerror=alert(1)> \"'&amp;{data}";

    /// The run as the scripts of the page read it.
    fn told(page: &str) -> serde_json::Value {
        let (_, json) = page.split_once(r#"<script type="application/json" id="run">"#).unwrap();
        serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap()
    }

    fn page(events: &[Event]) -> String {
        html(events, &BTreeMap::new())
    }

    #[test]
    fn nothing_a_run_says_becomes_markup() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, HOSTILE, StepKind::Primitive, &format!("sh {HOSTILE}"));
        run.wait(1.0, 1, HOSTILE);
        run.write(2.0, 1, HOSTILE);
        run.say(3.0, Level::Warning, HOSTILE, HOSTILE);
        run.end_as(4.0, 1, Outcome::Failed, Some(HOSTILE));
        run.push(4.0, crate::run::EventKind::OutputSet { name: HOSTILE.into(), value: HOSTILE.into() });
        run.finish(5.0, Outcome::Failed);
        let sources = BTreeMap::from([(HOSTILE.into(), HOSTILE.into())]);
        let page = html(&run.events, &sources);
        let harmless = html(&Sample::new().events, &BTreeMap::new());
        for markup in ["<script", "</script", "<!--", "<img", "<pre"] {
            assert_eq!(page.matches(markup).count(), harmless.matches(markup).count(), "{markup}");
        }
        let run = told(&page);
        let step = &run["steps"][0];
        for text in [&step["error"], &step["output"][0], &step["waits"][0][0], &run["messages"][0]["text"]] {
            assert_eq!(text, HOSTILE, "shown as it is");
        }
        assert_eq!([&run["outputs"][HOSTILE], &run["sources"][HOSTILE]], [HOSTILE, HOSTILE]);
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = page(&sample::environment());
        let loads = ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "import(", "import "];
        for load in loads {
            assert!(!page.contains(load), "the page has {load}");
        }
        assert!(page.contains("default-src 'none'"), "and would not be allowed to");
    }

    #[test]
    fn the_scripts_are_told_what_the_other_reports_say() {
        let run = told(&page(&sample::environment()));
        assert_eq!([&run["run_id"], &run["outcome"]], ["calm-otter", "succeeded"]);
        assert_eq!(run["setup_ms"], 1240.0);
        let path: Vec<_> =
            run["path"].as_array().unwrap().iter().filter_map(|part| part[0].as_u64()).collect();
        assert_eq!(path, [3, 8, 12, 14, 15]);
        let redis = &run["steps"][9];
        assert_eq!([&redis["label"], &redis["branch"]], ["deploy_redis redis", "env/redis"]);
        assert_eq!(redis["slack"], 467.2);
        assert_eq!(run["steps"][7]["waits"][0][2], 435.0, "a wait ends with its step");
    }

    #[test]
    fn what_failed_shows_more_of_its_output() {
        let mut run = Sample::new();
        for step in [1, 2] {
            run.start(0.0, step, 0, "", StepKind::Primitive, "sh");
            (0..500).for_each(|line| run.write(1.0, step, &format!("\u{1b}[31mline {line}\u{1b}[0m")));
        }
        run.end(2.0, 1);
        run.end_as(2.0, 2, Outcome::Failed, Some("no"));
        run.finish(3.0, Outcome::Failed);
        let run = told(&page(&run.events));
        let output = |step: usize| run["steps"][step]["output"].as_array().unwrap();
        assert_eq!([output(0).len(), output(1).len()], [20, 200]);
        assert_eq!(run["steps"][1]["lines"], 500);
        assert_eq!(output(1)[199], "line 499");
    }

    #[test]
    fn a_run_that_died_has_a_page() {
        let events = sample::environment();
        let running = events.len() - 2;
        for cut in 0..running {
            assert!(told(&page(&events[..cut]))["outcome"].is_null());
        }
    }
}
