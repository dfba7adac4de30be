//! The files that a Dockerfile can copy.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Bytes;

use super::archive::{Body, Entry};
use super::ignore::Ignore;
use crate::run::failure::offset_of;
use crate::run::{Excerpt, Failure, Kind};

/// A context of at least this many bytes without `.dockerignore` is most
/// likely not meant.
const LARGE: u64 = 300_000_000;
/// The name of a Dockerfile that does not lie in the context.
const OUTSIDE: &str = ".recipe.Dockerfile";

/// What is sent to the engine.
pub(super) struct Context {
    /// All entries, sorted by path.
    pub entries: Vec<Entry>,
    /// The path of the Dockerfile among them.
    pub dockerfile: String,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Finds the files of a context. `text` is the Dockerfile's.
///
/// # Errors
/// When a folder cannot be read, or the patterns are wrong.
pub(super) fn find(folder: &Path, dockerfile: &Path, text: &Arc<str>) -> Result<Context, Failure> {
    match fs_err::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let what = format!("the context {} is not a folder", folder.display());
            return Err(Failure::new(Kind::Usage, what));
        }
        Err(error) => {
            let what = format!("there is no context {}", folder.display());
            return Err(Failure::new(Kind::NotFound, what)
                .cause(error)
                .hint("`context` is a folder, relative to the workspace"));
        }
    }
    let (ignore, found) = patterns(folder, dockerfile)?;
    let mut walk = Walk { root: folder, ignore: &ignore, entries: Vec::new(), remarks: Vec::new(), bytes: 0 };
    walk.folder("").map_err(|error| {
        Failure::new(Kind::Io, "the build's context cannot be read")
            .cause(error)
            .hint("make it readable, or leave it out by a line in .dockerignore")
    })?;
    let Walk { mut entries, mut remarks, bytes, .. } = walk;
    if bytes >= LARGE && !found {
        remarks.push(format!(
            "the build's context {} has {} files of {} MB; a .dockerignore would leave out what is not needed",
            folder.display(),
            entries.len(),
            bytes / 1_000_000
        ));
    }
    let dockerfile = add_dockerfile(&mut entries, folder, dockerfile, text)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Context { entries, dockerfile, remarks })
}

/// The patterns of a Dockerfile, and whether there are any.
fn patterns(folder: &Path, dockerfile: &Path) -> Result<(Ignore, bool), Failure> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), folder.join(".dockerignore")] {
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(
                    Failure::new(Kind::Io, "the patterns of files to leave out cannot be read").cause(error)
                );
            }
        };
        return match Ignore::parse(&text) {
            Ok(ignore) => Ok((ignore, true)),
            Err((line, why)) => {
                let start = offset_of(&text, line, 1);
                let length = text[start..].lines().next().unwrap_or_default().len();
                let mut failure =
                    Failure::new(Kind::Usage, format!("{} has a wrong pattern", path.display()));
                failure.excerpt = Some(Excerpt {
                    file: path.display().to_string(),
                    text: text.into(),
                    span: (start, length),
                    label: why,
                });
                Err(failure)
            }
        };
    }
    Ok((Ignore::default(), false))
}

/// Sees to it that the engine gets the Dockerfile and `.dockerignore`, even if
/// they are left out: it needs them, and hides them from `COPY` by itself.
fn add_dockerfile(
    entries: &mut Vec<Entry>,
    folder: &Path,
    dockerfile: &Path,
    text: &Arc<str>,
) -> Result<String, Failure> {
    let unreadable = |error| Failure::new(Kind::Io, "the Dockerfile cannot be read").cause(error);
    let inside = fs_err::canonicalize(dockerfile).map_err(unreadable)?;
    let root = fs_err::canonicalize(folder).map_err(unreadable)?;
    let relative = inside.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned);
    let mut add = |path: String, text: String| {
        entries.retain(|entry| entry.path != path);
        entries.push(Entry { path, mode: 0o644, body: Body::Text(Bytes::from(text)) });
    };
    let patterns = fs_err::read_to_string(folder.join(".dockerignore")).ok();
    if let Some(relative) = relative {
        add(relative.clone(), text.to_string());
        if let Some(patterns) = patterns {
            add(".dockerignore".to_owned(), patterns);
        }
        return Ok(relative);
    }
    add(OUTSIDE.to_owned(), text.to_string());
    add(".dockerignore".to_owned(), format!("{}\n{OUTSIDE}\n", patterns.unwrap_or_default()));
    Ok(OUTSIDE.to_owned())
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    entries: Vec<Entry>,
    remarks: Vec<String>,
    bytes: u64,
}

impl Walk<'_> {
    /// Adds what is in a folder. Returns whether there was anything.
    fn folder(&mut self, relative: &str) -> io::Result<bool> {
        let mut any = false;
        for found in fs_err::read_dir(self.root.join(relative))? {
            let found = found?;
            let Some(name) = found.file_name().to_str().map(str::to_owned) else {
                let name = found.path();
                return Err(io::Error::other(format!("the name of {} is not UTF-8", name.display())));
            };
            let path = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            let left_out = self.ignore.leaves_out(&path);
            let kind = found.file_type()?;
            if left_out && !(kind.is_dir() && self.ignore.may_take_in_below(&path)) {
                continue;
            }
            let source = found.path();
            let metadata = fs_err::symlink_metadata(&source)?;
            let mode = metadata.permissions().mode() & 0o7777;
            let body = if kind.is_dir() {
                // A folder that is left out is still there for what is taken in below it.
                if !self.folder(&path)? && left_out {
                    continue;
                }
                Body::Folder
            } else if kind.is_symlink() {
                Body::Link(fs_err::read_link(&source)?)
            } else if kind.is_file() {
                self.bytes += metadata.len();
                Body::File { source, size: metadata.len(), digest: None }
            } else {
                let what = if kind.is_socket() { "socket" } else { "device or pipe" };
                self.remarks.push(format!("{} is a {what} and not sent to the build", source.display()));
                continue;
            };
            self.entries.push(Entry { path, mode, body });
            any = true;
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], dockerfile: &str) -> (Vec<String>, Context) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let context = folder.path().join("context");
        let context = find(&context, &folder.path().join(dockerfile), &"FROM scratch".into()).unwrap();
        (context.entries.iter().map(|entry| entry.path.clone()).collect(), context)
    }

    #[test]
    fn the_dockerfile_is_sent_though_left_out() {
        let files = [
            ("context/.dockerignore", "*\n!src/keep"),
            ("context/Dockerfile", ""),
            ("context/src/keep/a", ""),
            ("context/src/other", ""),
            ("context/target/x", ""),
        ];
        let (paths, context) = found(&files, "context/Dockerfile");
        assert_eq!(paths, [".dockerignore", "Dockerfile", "src", "src/keep", "src/keep/a"]);
        assert_eq!(context.dockerfile, "Dockerfile");
    }

    #[test]
    fn a_dockerfile_has_patterns_of_its_own() {
        let files = [
            ("context/.dockerignore", "a"),
            ("context/docker/x.Dockerfile", ""),
            ("context/docker/x.Dockerfile.dockerignore", "b"),
            ("context/a", ""),
            ("context/b", ""),
        ];
        let (paths, context) = found(&files, "context/docker/x.Dockerfile");
        assert!(paths.contains(&"a".to_owned()) && !paths.contains(&"b".to_owned()), "{paths:?}");
        assert_eq!(context.dockerfile, "docker/x.Dockerfile");
    }

    #[test]
    fn a_dockerfile_outside_is_hidden_from_copies() {
        let (paths, context) = found(&[("context/a", ""), ("Dockerfile", "")], "Dockerfile");
        assert_eq!(paths, [".dockerignore", OUTSIDE, "a"]);
        let Body::Text(patterns) = &context.entries[0].body else { panic!("no text") };
        assert_eq!(patterns.as_ref(), format!("\n{OUTSIDE}\n").as_bytes());
    }

    #[test]
    fn links_stay_links_and_sockets_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = folder.path().join("Dockerfile");
        fs_err::write(&dockerfile, "").unwrap();
        std::os::unix::fs::symlink("/nowhere/at all", folder.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let context = find(folder.path(), &dockerfile, &"".into()).unwrap();
        let link = context.entries.iter().find(|entry| entry.path == "link").unwrap();
        assert!(matches!(&link.body, Body::Link(target) if target == Path::new("/nowhere/at all")));
        assert_eq!(context.entries.len(), 2);
        assert!(context.remarks[0].contains("socket"), "{:?}", context.remarks);
    }

    #[test]
    fn wrong_patterns_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("Dockerfile"), "").unwrap();
        fs_err::write(folder.path().join(".dockerignore"), "a\n[b-a]\n").unwrap();
        let failure = find(folder.path(), &folder.path().join("Dockerfile"), &"".into()).err().unwrap();
        let excerpt = failure.excerpt.as_ref().unwrap();
        assert_eq!(&excerpt.text[excerpt.span.0..][..excerpt.span.1], "[b-a]");
    }
}
