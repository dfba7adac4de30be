//! Folders of migrations that would not be applied as they are meant.

use std::path::Path;

use rhai::Position;

use crate::migrate::{self, Format, PlanError};
use crate::script::Finding;

/// Migrations that cannot be read, or whose order nobody has chosen.
pub(super) fn findings(dir: &Path, at: Position) -> Option<Finding> {
    if !dir.is_dir() {
        return None;
    }
    if let Some([one, other]) = same_version(dir) {
        let what = format!("migrate: `{one}` and `{other}` have the same version");
        return Some(
            Finding::error("migrations", at, what)
                .hint("which comes first is chance, and some formats apply one only; number them anew"),
        );
    }
    let error = migrate::read(dir, Format::Auto).err()?;
    let mut what = format!("migrate: {error}");
    if let PlanError::Text { file, at, .. } = &error {
        what.push_str(&format!(" ({}:{}:{})", file.display(), at.line, at.column));
    }
    Some(
        Finding::error("migrations", at, what)
            .hint("correct the folder, or name its format with the option `format`"),
    )
}

/// The first two migrations of one version.
fn same_version(dir: &Path) -> Option<[String; 2]> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| !name.ends_with(".down.sql"))
        .collect();
    files.sort_unstable();
    let version = |name: &str| {
        let number = name.strip_prefix(['V', 'v']).unwrap_or(name);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let parts: Option<Vec<u64>> = number[..end].split('.').map(|part| part.parse().ok()).collect();
        parts
    };
    let mut seen: Vec<(Vec<u64>, String)> = Vec::new();
    for name in files {
        let Some(version) = version(&name) else { continue };
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == version) {
            return Some([other.clone(), name]);
        }
        seen.push((version, name));
    }
    None
}
