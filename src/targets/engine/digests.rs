//! Digests of the files of a context, by many threads, without reading again
//! those that have not changed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::archive::{Body, Entry};
use crate::run::{Failure, Kind};
use crate::targets::caches;
use crate::targets::digest::{self, Marked};

type Known = HashMap<String, Marked>;

/// Sets the digest of every file among `entries`, which are of one context.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn fill(entries: &mut [Entry], context: &Path) -> Result<(), Failure> {
    let name = blake3::hash(context.as_os_str().as_encoded_bytes()).to_hex();
    let cache = caches::file("contexts", &format!("{}.json", &name[..32]));
    let known: Known = cache.as_deref().map(caches::read).unwrap_or_default();
    let found = digests(entries, &known)?;
    let mut marked = Known::new();
    for (entry, (mark, digest)) in entries.iter_mut().filter(|entry| is_file(entry)).zip(found) {
        if let Body::File { size, digest: slot, .. } = &mut entry.body {
            (*size, *slot) = (mark.size, Some(digest));
        }
        if mark.is_settled() {
            marked.insert(entry.path.clone(), (mark, digest));
        }
    }
    if marked != known
        && let Some(cache) = cache
        && let Err(error) = caches::save(&cache, &marked)
    {
        tracing::debug!(%error, "digests of files are not remembered");
    }
    Ok(())
}

fn is_file(entry: &Entry) -> bool {
    matches!(entry.body, Body::File { .. })
}

/// Mark and digest of every file, in order, read by as many threads as there
/// are processors.
fn digests(entries: &[Entry], known: &Known) -> Result<Vec<Marked>, Failure> {
    let files: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::File { source, .. } => Some((entry.path.as_str(), source.as_path())),
            _ => None,
        })
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < files.len()) {
            let (path, source) = files[i];
            done.push((i, digest::again(source, known.get(path))?));
        }
        Ok::<_, std::io::Error>(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len().max(1));
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work()?;
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
    .map_err(|error: std::io::Error| {
        Failure::new(Kind::Io, "a file of the image cannot be read")
            .cause(error)
            .hint("make it readable, or leave it out by a line in .dockerignore")
    })?;
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, found)| found).collect())
}
