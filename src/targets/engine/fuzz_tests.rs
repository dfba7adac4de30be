//! Arbitrary `.dockerignore` files, against a slow and simple reading of
//! Docker's rules, and arbitrary archives, against a reader of another make.

use std::io::Read;
use std::path::PathBuf;

use hyper::body::Bytes;
use proptest::prelude::*;

use super::archive::{Body, Entry, size_of, write};
use super::ignore::Ignore;
use crate::arbitrary::cases;

/// Whether a pattern without brackets and escapes matches all of `path`: by
/// trying every way.
fn matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] if !rest.is_empty() => {
            let starts = (0..path.len()).filter(|at| path[*at] == '/').map(|at| at + 1);
            std::iter::once(0).chain(starts).any(|start| matches(rest, &path[start..]))
        }
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            (0..=path.len()).any(|end| matches(rest, &path[end..]))
        }
        ['*', rest @ ..] => {
            let stop = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=stop).any(|end| matches(rest, &path[end..]))
        }
        ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && matches(rest, &path[1..]),
        [c, rest @ ..] => path.first() == Some(c) && matches(rest, &path[1..]),
    }
}

/// As the documentation of Docker says it: the last line that matches a path or
/// one of its parents decides.
fn leaves_out(lines: &[String], path: &str) -> bool {
    let mut left_out = false;
    for line in lines {
        let (exception, pattern) = line.strip_prefix('!').map_or((false, line.as_str()), |rest| (true, rest));
        let pattern: Vec<char> = pattern.chars().collect();
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
        if parents.map(|path| path.chars().collect::<Vec<_>>()).any(|path| matches(&pattern, &path)) {
            left_out = !exception;
        }
    }
    left_out
}

fn component() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "ab", "a.b", "é"])
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(component(), 1..5).prop_map(|parts| parts.join("/"))
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => component(), 2 => prop::sample::select(vec![
        "*", "**", "?", "a*", "*b", "a?b", "**b", "a**", "?*",
    ])];
    (any::<bool>(), prop::collection::vec(part, 1..5))
        .prop_map(|(exception, parts)| format!("{}{}", if exception { "!" } else { "" }, parts.join("/")))
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Folder),
        "[a-z./]{1,150}".prop_map(|target| Body::Link(target.into())),
        prop::collection::vec(any::<u8>(), 0..1200).prop_map(|bytes| Body::Text(Bytes::from(bytes))),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let name = "[^/\u{0}]{1,40}".prop_filter("a name", |name| ![".", ".."].contains(&name.as_str()));
    let path = prop::collection::vec(name, 1..6).prop_map(|names| names.join("/"));
    let entry = (path, 0_u32..0o10000, body()).prop_map(|(path, mode, body)| Entry { path, mode, body });
    prop::collection::vec(entry, 0..6)
}

/// A link is what it was, to the letter: found by the test below.
#[test]
fn nasty_links() {
    for target in ["/", "//", "a//b", "./a", "a/.", "a/"] {
        let entries = [Entry { path: "link".into(), mode: 0o777, body: Body::Link(target.into()) }];
        let mut bytes = Vec::new();
        write(&entries, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.link_name_bytes().unwrap().as_ref(), target.as_bytes());
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_left_out_is_what_docker_leaves_out(lines in prop::collection::vec(pattern(), 0..5), path in path()) {
        let ignore = Ignore::parse(&lines.join("\n")).unwrap();
        prop_assert_eq!(ignore.leaves_out(&path), leaves_out(&lines, &path), "{:?} {}", lines, path);
        // A folder that is left out is looked into where something below it may be taken in.
        for (end, _) in path.match_indices('/') {
            let folder = &path[..end];
            if ignore.leaves_out(folder) && !ignore.leaves_out(&path) {
                prop_assert!(ignore.may_take_in_below(folder), "{:?} {} {}", lines, folder, path);
            }
        }
    }

    #[test]
    fn every_file_of_patterns_is_read_or_refused(text: String, bits in prop::collection::vec(prop::sample::select(vec![
        "[", "]", "^", "-", "!", "*", "**", "?", "\\", "/", "..", ".", "#", "\n", " ", "a", "z", "é", "{", "}", "(", "$", "|", "+",
    ]), 0..20), path in path()) {
        for text in [text, bits.concat()] {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.leaves_out(&path);
                ignore.may_take_in_below(&path);
            }
        }
    }

    #[test]
    fn what_is_put_into_an_archive_is_read_from_it(entries in entries()) {
        let mut bytes = Vec::new();
        write(&entries, &mut bytes).unwrap();
        let mut again = Vec::new();
        write(&entries, &mut again).unwrap();
        prop_assert_eq!(&bytes, &again);
        let is_long = |text: &str| text.len() >= 100;
        let is_short = entries.iter().all(|entry| !is_long(&entry.path) && match &entry.body {
            Body::Link(target) => !is_long(target.to_str().unwrap()),
            _ => true,
        });
        if is_short {
            prop_assert_eq!(bytes.len() as u64, size_of(&entries));
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut count = 0;
        for (read, entry) in archive.entries().unwrap().zip(&entries) {
            let mut read = read.unwrap();
            let path = String::from_utf8(read.path_bytes().into_owned()).unwrap();
            prop_assert_eq!(path.trim_end_matches('/'), entry.path.trim_end_matches('/'));
            prop_assert_eq!(read.header().mode().unwrap(), entry.mode);
            let mut contents = Vec::new();
            read.read_to_end(&mut contents).unwrap();
            match &entry.body {
                Body::Text(text) => prop_assert_eq!(&contents, text),
                Body::Link(target) => {
                    let link = read.link_name_bytes().unwrap().into_owned();
                    let link = PathBuf::from(String::from_utf8(link).unwrap());
                    // A longer one comes without empty and `.` components, which mean nothing.
                    let is_verbatim = link.as_os_str() == target.as_os_str();
                    prop_assert!(link == *target && (is_verbatim || target.as_os_str().len() > 100));
                }
                _ => prop_assert!(read.header().entry_type().is_dir()),
            }
            count += 1;
        }
        prop_assert_eq!(count, entries.len());
    }
}
