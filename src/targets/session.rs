//! Connections to PostgreSQL, and those that are spare.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::{Client, Config, Error, NoTls};

/// For how long a spare connection may stay. PostgreSQL lets whoever copies or
/// renames a database wait longer than that until others have left it.
const SPARE_FOR: Duration = Duration::from_millis(100);

/// A connection that ends when it is dropped.
pub struct Session {
    /// What to ask it by.
    pub client: Client,
    connection: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    /// Connects to the database that `config` names.
    ///
    /// # Errors
    /// When the server does not let it in.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let (client, connection) = config.clone().application_name("recipe").connect(NoTls).await?;
        Ok(Self { client, connection: tokio::spawn(connection) })
    }

    /// Connects to another database.
    ///
    /// # Errors
    /// When the server does not let it in.
    pub async fn open(config: &Config, database: &str) -> Result<Self, Error> {
        Self::connect(config.clone().dbname(database)).await
    }
}

/// A connection that somebody has made and does not need any more, for whoever
/// needs one next: to make one takes PostgreSQL as long as ten statements.
#[derive(Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Option<Session>>>);

impl Spare {
    pub fn put(&self, session: Session) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        let spare = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SPARE_FOR).await;
            spare.take();
        });
    }

    pub fn take(&self) -> Option<Session> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.filter(|session| !session.client.is_closed())
    }
}
