//! A folder's files, and the style that they are written in.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{goose, named, plan::Style};

/// The `.sql` files of a folder, in the order of their names.
pub(super) struct Folder {
    pub files: Vec<SqlFile>,
    /// The names of the files that are no SQL.
    pub others: Vec<String>,
}

/// A file of SQL.
pub(super) struct SqlFile {
    pub path: PathBuf,
    pub name: String,
    /// Without a byte order mark.
    pub text: String,
}

/// A folder that holds no migrations, or none that can be read.
#[derive(Debug, Error)]
pub enum FolderError {
    /// No such folder.
    #[error("migration folder {} does not exist", .0.display())]
    Missing(PathBuf),
    /// A file instead.
    #[error("{} is a file: give the folder that holds the migrations", .0.display())]
    NotFolder(PathBuf),
    /// Nothing in it.
    #[error("migration folder {} is empty", .0.display())]
    Empty(PathBuf),
    /// Only other files, or folders, in it.
    #[error("migration folder {} holds no .sql file, but {example}", dir.display())]
    NoSql {
        /// The folder.
        dir: PathBuf,
        /// What it holds instead.
        example: String,
    },
    /// The system refuses; its message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Bytes that are not UTF-8.
    #[error("migration {}:{line} is not UTF-8: save the file as UTF-8", file.display())]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// The line of the first such byte, from 1.
        line: usize,
    },
    /// Two files of different styles.
    #[error("migrations in {} are mixed: {first}, but {second}: separate them, or give `format`", dir.display())]
    Mixed {
        /// The folder.
        dir: PathBuf,
        /// What was found first, and in which file.
        first: String,
        /// What disagrees with it.
        second: String,
    },
}

/// Reads the `.sql` files of `dir`; hidden files and folders are left alone.
pub(super) fn list(dir: &Path) -> Result<Folder, FolderError> {
    match fs_err::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(FolderError::NotFolder(dir.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(FolderError::Missing(dir.to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    let mut paths =
        fs_err::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();

    let mut folder = Folder { files: Vec::new(), others: Vec::new() };
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Follows links: mounted ConfigMaps are made of them.
        let is_file = fs_err::metadata(path)?.is_file();
        if is_file && path.extension() == Some(OsStr::new("sql")) {
            folder.files.push(SqlFile { path: path.clone(), name, text: read_text(path)? });
        } else {
            folder.others.push(if is_file { name } else { format!("folder {name}") });
        }
    }
    match (folder.files.first(), folder.others.first()) {
        (Some(_), _) => Ok(folder),
        (None, None) => Err(FolderError::Empty(dir.to_owned())),
        (None, Some(example)) => Err(FolderError::NoSql { dir: dir.to_owned(), example: example.clone() }),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn read_text(path: &Path) -> Result<String, FolderError> {
    let bytes = fs_err::read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|&byte| byte == b'\n').count();
        FolderError::NotUtf8 { file: path.to_owned(), line }
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

impl Folder {
    /// The style on which all files agree, and why.
    pub fn detect(&self) -> Result<(Style, String), FolderError> {
        let mut found: Option<(Style, String)> = None;
        for file in &self.files {
            let (style, why) = file.clue();
            match &found {
                None => found = Some((style, why)),
                Some((first, _)) if *first == style => {}
                Some((_, first)) => {
                    return Err(FolderError::Mixed {
                        dir: file.path.parent().unwrap_or(Path::new("")).to_owned(),
                        first: first.clone(),
                        second: why,
                    });
                }
            }
        }
        Ok(found.unwrap_or_else(|| (Style::Plain, "no file".to_owned())))
    }
}

impl SqlFile {
    fn clue(&self) -> (Style, String) {
        let name = &self.name;
        if let Some((line, mark)) = goose::first_mark(&self.text) {
            (Style::Goose, format!("{name} has `{mark}` in line {line}"))
        } else if named::is_up_or_down(name) {
            (Style::UpDown, format!("{name} is named like `1_name.up.sql`"))
        } else if named::is_versioned(name) {
            (Style::Versioned, format!("{name} is named like `V1__name.sql`"))
        } else {
            (Style::Plain, format!("{name} has neither marks nor a known kind of name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn detect(files: &[(&str, &str)]) -> (Style, String) {
        list(folder(files).path()).unwrap().detect().unwrap()
    }

    #[test]
    fn says_what_it_found_and_where() {
        let (style, why) =
            detect(&[("001_a.sql", "-- tables\n-- +goose Up\n"), ("002_b.sql", "-- +goose Up")]);
        assert_eq!((style, why.as_str()), (Style::Goose, "001_a.sql has `-- +goose Up` in line 2"));
        assert_eq!(detect(&[("1_a.up.sql", ""), ("1_a.down.sql", "")]).0, Style::UpDown);
        assert_eq!(detect(&[("V1__a.sql", ""), ("V1.2__b.sql", ""), ("R__v.sql", "")]).0, Style::Versioned);
        assert_eq!(detect(&[("schema.sql", ""), ("seed.sql", "")]).0, Style::Plain);
    }

    #[test]
    fn names_two_files_that_disagree() {
        let dir = folder(&[("001_a.sql", "-- +goose Up"), ("002_b.up.sql", "")]);
        let error = list(dir.path()).unwrap().detect().unwrap_err().to_string();
        assert!(error.contains("001_a.sql has `-- +goose Up` in line 1"), "{error}");
        assert!(error.contains("002_b.up.sql is named like"), "{error}");
    }

    #[test]
    fn each_useless_folder_has_its_own_error() {
        let dir = folder(&[]);
        let error = |path: &Path| list(path).err().unwrap();
        assert!(matches!(error(&dir.path().join("nope")), FolderError::Missing(_)));
        assert!(matches!(error(dir.path()), FolderError::Empty(_)));
        fs_err::write(dir.path().join(".hidden.sql"), "").unwrap();
        assert!(matches!(error(dir.path()), FolderError::Empty(_)));
        fs_err::create_dir(dir.path().join("old.sql")).unwrap();
        assert!(error(dir.path()).to_string().ends_with("holds no .sql file, but folder old.sql"));
        fs_err::write(dir.path().join("a.sql"), b"\xef\xbb\xbfSELECT 1;").unwrap();
        assert!(matches!(error(&dir.path().join("a.sql")), FolderError::NotFolder(_)));
        assert_eq!(list(dir.path()).unwrap().files[0].text, "SELECT 1;");
        fs_err::write(dir.path().join("b.sql"), b"SELECT 1;\n\xff").unwrap();
        assert!(matches!(error(dir.path()), FolderError::NotUtf8 { line: 2, .. }));
    }
}
