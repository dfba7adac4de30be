//! Secrets of a run for later commands about it: those that show what its
//! servers have written while they are up, and the one that takes it down.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::PoisonError;

use super::Secrets;
use crate::run::RunFolder;

/// In the run's folder, while anything is up: a JSON string a line.
const NAME: &str = "secrets.jsonl";
/// Bytes of a log that are masked at once.
const CHUNK: u64 = 4 << 20;

/// Where secrets are kept.
pub(super) struct Kept(File);

impl Kept {
    pub(super) fn add(&mut self, secret: &str) {
        // Without it, only logs that are shown by another process hold it.
        let _ = writeln!(self.0, "{}", serde_json::Value::from(secret));
    }
}

impl Secrets {
    /// Keeps what is secret in the folder of the run, which only its owner can
    /// read, and knows what was kept there.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn keep_in(&self, folder: &RunFolder) -> io::Result<()> {
        let earlier = read(&folder.path);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(folder.path.join(NAME))?;
        let mut kept = Kept(file);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.secrets.iter().filter(|secret| !earlier.contains(secret)).for_each(|secret| kept.add(secret));
        for secret in &earlier {
            known.add(secret);
        }
        known.kept = Some(kept);
        Ok(())
    }
}

impl RunFolder {
    /// What is secret about a run that is up.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let secrets = Secrets::default();
        for secret in read(&self.path) {
            secrets.add(&secret);
        }
        secrets
    }

    /// Removes what only an environment that is up has a use for and what holds
    /// its secrets, and masks them in what stays.
    pub fn forget_secrets(&self) {
        let secrets = self.secrets();
        if !secrets.is_empty() {
            let logs = std::fs::read_dir(self.path.join("logs")).into_iter().flatten().flatten();
            for log in logs {
                // The folder stays for its owner alone, whatever happens.
                let _ = mask_file(&log.path(), &secrets);
            }
            if let Ok(outputs) = self.outputs() {
                let mut outputs = serde_json::Value::Object(outputs);
                secrets.mask_json(&mut outputs);
                let _ = self.write_outputs(&outputs);
            }
        }
        for name in ["variables.json", "values.jsonl", NAME] {
            // There are none where nothing was deployed.
            let _ = std::fs::remove_file(self.path.join(name));
        }
    }
}

fn read(folder: &Path) -> Vec<Box<str>> {
    let text = std::fs::read_to_string(folder.join(NAME)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Masks secrets in a file, which stays as it is where there are none.
fn mask_file(path: &Path, secrets: &Secrets) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let aside = path.with_extension("masked");
    let mut masked =
        BufWriter::new(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?);
    let mut differs = false;
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        io::Read::read_to_end(&mut io::Read::take(&mut reader, CHUNK), &mut chunk)?;
        reader.read_until(b'\n', &mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(&chunk);
        let shown = secrets.masked(&text);
        differs |= shown != text;
        masked.write_all(shown.as_bytes())?;
    }
    masked.flush()?;
    if differs { std::fs::rename(aside, path) } else { std::fs::remove_file(aside) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_masked_when_all_is_over() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder { id: "run".to_owned(), path: place.path().to_owned() };
        let secrets = Secrets::default();
        secrets.add("before-it-was-kept");
        secrets.keep_in(&folder).unwrap();
        secrets.add("two\nlines-of-it");
        std::fs::create_dir(place.path().join("logs")).unwrap();
        let log = folder.log("site");
        std::fs::write(&log, "\"before-it-was-kept\"\n  two\n  lines-of-it\nlines%2Dof-it two").unwrap();
        std::fs::write(folder.log("other"), b"\xFF plain").unwrap();

        assert_eq!(folder.secrets().masked("x before-it-was-kept"), "x ***");
        folder.forget_secrets();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "\"***\"\n  ***\n  ***\n*** two");
        assert_eq!(std::fs::read(folder.log("other")).unwrap(), b"\xFF plain");
        assert!(folder.secrets().is_empty() && std::fs::read_dir(place.path()).unwrap().count() == 1);
    }
}
