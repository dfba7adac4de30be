//! `migrate`: from a folder to a database that is as its files say.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_postgres::Client;

use super::database::{connect, mark};
use crate::migrate::{self, ApplyError, Format, Plan, PlanError, Progress, Style};
use crate::run::event::Level;
use crate::run::failure::offset_of;
use crate::run::{Excerpt, Failure, Kind, Step};
use crate::script::{Arguments, Call};
use crate::targets::Postgres;
use crate::targets::migrations::{MigrationFile, Migrations};

/// Applies the folder `dir` of `args` to the database.
pub(super) async fn migrate(call: &Call, postgres: &Postgres, args: &Arguments) -> Result<(), Failure> {
    let environment = &call.host().environment;
    let dir = environment.folder(&args.text("dir"))?;
    let format = match args.text("format").as_str() {
        "goose" => Format::Is(Style::Goose),
        "updown" => Format::Is(Style::UpDown),
        "versioned" => Format::Is(Style::Versioned),
        "plain" => Format::Is(Style::Plain),
        _ => Format::Auto,
    };
    let plan = {
        let dir = dir.clone();
        let plan = tokio::task::spawn_blocking(move || migrate::read(&dir, format)).await;
        plan.map_err(|error| Failure::new(Kind::Bug, error.to_string()))?
            .map_err(|error| plan_failure(error, &environment.workspace))?
    };
    if format == Format::Auto {
        let text = format!("{}: {} migrations ({})", environment.display(&dir), plan.style.name(), plan.why);
        call.step.message(Level::Info, text);
    }
    let total = plan.migrations.len();
    let folder = Folder::new(environment.display(&dir), plan, args.string("table"), Some(call.step.clone()));
    let folder = Arc::new(folder);
    let migrations: Arc<dyn Migrations> = folder.clone();
    let recalled = postgres.0.workload.recall(&migrations).await;
    let mut session = None;
    let (new, already) = if recalled.files == total {
        (0, total)
    } else {
        let session = session.insert(connect(postgres).await?);
        let applied = folder.apply(&mut session.client, total).await;
        if let Some(drift) = folder.drift() {
            call.make_anew(&postgres.0.name, &drift).await;
        }
        applied?;
        folder.counts()
    };
    postgres.0.workload.migrated().await;
    if call.has_taken_over(&postgres.0.name) {
        // The database has been used since: the copy beside it is still true, or
        // cannot be made any more.
        if new > 0 && call.host().may_call("reset") {
            call.make_anew(&postgres.0.name, "`reset` needs a copy of it as migrations left it").await;
        }
    } else {
        super::reset::prepare(call, postgres, session).await?;
    }
    // Later servers are migrated without anybody watching.
    folder.step.lock().unwrap_or_else(PoisonError::into_inner).take();
    call.step.progress(total as u64, Some(total as u64), "files");
    let why = recalled.why.unwrap_or_else(|| format!("{new} applied, {already} were already"));
    call.step.cache(new == 0, why);
    Ok(())
}

/// Reads migrations again that were kept in a folder, applied in a manner that
/// [`Migrations::manner`] gave.
///
/// # Errors
/// When they cannot be read.
pub fn kept_migrations(dir: &Path, manner: &str) -> Result<Arc<dyn Migrations>, Failure> {
    let (style, table) = manner.split_once(' ').unwrap_or((manner, ""));
    let format = style.parse().unwrap_or(Format::Auto);
    let plan = migrate::read(dir, format).map_err(|error| plan_failure(error, dir))?;
    let table = Some(table.to_owned()).filter(|table| !table.is_empty());
    Ok(Arc::new(Folder::new(String::new(), plan, table, None)))
}

/// A folder of migrations that was read.
struct Folder {
    name: String,
    manner: String,
    plan: Plan,
    files: Vec<MigrationFile>,
    table: Option<String>,
    /// Whom its progress is told.
    step: Mutex<Option<Step>>,
    /// How many files were applied, and how many had been before.
    counts: Mutex<(usize, usize)>,
    /// How the files and the database do not fit together.
    drift: Mutex<Option<String>>,
}

impl Folder {
    fn new(name: String, plan: Plan, table: Option<String>, step: Option<Step>) -> Self {
        let files = plan
            .migrations
            .iter()
            .map(|migration| MigrationFile { name: migration.name().to_owned(), digest: migration.digest() });
        let files = files.collect();
        let manner = format!("{} {}", plan.style.name(), table.as_deref().unwrap_or_default());
        let step = Mutex::new(step);
        Self { name, manner, plan, files, table, step, counts: Mutex::default(), drift: Mutex::default() }
    }

    /// The same in words, without the advice to mend it by hand.
    fn drift(&self) -> Option<String> {
        let drift = self.drift.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(drift.split(':').next().unwrap_or(&drift).to_owned())
    }

    fn counts(&self) -> (usize, usize) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Migrations for Folder {
    fn folder(&self) -> &str {
        &self.name
    }

    fn manner(&self) -> &str {
        &self.manner
    }

    fn files(&self) -> &[MigrationFile] {
        &self.files
    }

    fn sources(&self) -> Vec<(String, String)> {
        let files = self.plan.migrations.iter();
        files.map(|file| (file.name().to_owned(), file.source().to_owned())).collect()
    }

    async fn apply(&self, client: &mut Client, count: usize) -> Result<(), Failure> {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut progress = |progress: Progress<'_>| {
            let Some(step) = &step else { return };
            match progress {
                Progress::WaitingForLock => step.waiting("another process that migrates this database"),
                Progress::Started { file, number, of } => {
                    step.waiting(file);
                    step.progress(number as u64 - 1, Some(of as u64), "files");
                }
                Progress::Finished { .. } => {}
            }
        };
        let part;
        let plan = if count == self.plan.migrations.len() {
            &self.plan
        } else {
            part = self.plan.first(count);
            &part
        };
        let applied = migrate::apply(client, plan, self.table.as_deref(), &mut progress).await;
        if let Err(ApplyError::Drift(drift)) = &applied {
            *self.drift.lock().unwrap_or_else(PoisonError::into_inner) = Some(drift.to_string());
        }
        let applied = applied.map_err(apply_failure)?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) =
            (applied.applied.len(), applied.already);
        Ok(())
    }
}

fn plan_failure(error: PlanError, workspace: &Path) -> Failure {
    let kind = if matches!(error, PlanError::Folder(_)) { Kind::NotFound } else { Kind::Sql };
    let mut failure = Failure::new(kind, error.to_string());
    if kind == Kind::NotFound {
        failure.hint = Some(format!("a path in a recipe is relative to {}", workspace.display()));
    }
    failure.excerpt = match &error {
        PlanError::Text { file, at, .. } => excerpt(file, at.line, at.column),
        _ => None,
    };
    failure.cause = std::error::Error::source(&error).map(owned);
    failure
}

fn apply_failure(error: ApplyError) -> Failure {
    let hint = error.hint().map(str::to_owned);
    let mut failure = match &error {
        ApplyError::Statement(statement) => {
            let mut failure = Failure::new(Kind::Sql, statement.to_string());
            failure.evidence = [("detail", &statement.detail), ("context", &statement.context)]
                .into_iter()
                .filter_map(|(name, text)| text.as_ref().map(|text| format!("{name}: {text}")))
                .collect();
            if !statement.undone {
                failure.evidence.push(
                    "the file has no transaction: its statements before this one have had effect".into(),
                );
            }
            failure.excerpt = excerpt(&statement.file, statement.at.line, statement.at.column);
            failure
        }
        ApplyError::Database { .. } | ApplyError::Lost { .. } => {
            Failure::new(Kind::Unreachable, error.to_string())
        }
        _ => Failure::new(Kind::Sql, error.to_string()),
    };
    failure.hint = hint;
    failure.cause = std::error::Error::source(&error).map(owned);
    failure
}

/// The texts of a cause and its causes, kept when the error itself cannot be.
fn owned(error: &(dyn std::error::Error + 'static)) -> Arc<dyn std::error::Error + Send + Sync> {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    Arc::new(std::io::Error::other(text))
}

fn excerpt(file: &Path, line: u32, column: u32) -> Option<Excerpt> {
    let text = std::fs::read_to_string(file).ok()?;
    let offset = offset_of(&text, line as usize, column as usize);
    Some(mark(&file.display().to_string(), &text, offset))
}
