//! Configuration, from the environment.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const DEFAULT_PORT: u16 = 8080;

/// Everything the service is told from outside.
pub struct Config {
    /// Where to listen: `HOST` (default `0.0.0.0`, as containers need) and `PORT` (default 8080).
    pub listen: SocketAddr,
    /// `DATABASE_URL`.
    pub postgres: tokio_postgres::Config,
    /// `REDIS_URL`.
    pub redis: redis::Client,
    /// This instance's name among the readers of the stream: `HOSTNAME`, which
    /// container engines set, and which a restarted instance keeps.
    pub instance: String,
}

/// What is missing or wrong, all of it. Never contains a value: URLs hold passwords.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(Vec<&'static str>);

impl Config {
    /// Reads the configuration; `variable` is the environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut errors = Vec::new();
        let mut note = |message| errors.push(message);

        let host = variable("HOST").map_or(Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |host| host.parse().ok());
        if host.is_none() {
            note("HOST is not an IP address");
        }
        let port = variable("PORT").map_or(Some(DEFAULT_PORT), |port| port.parse().ok());
        if port.is_none() {
            note("PORT is not a port number (0 to 65535)");
        }
        let postgres = variable("DATABASE_URL").map(|url| url.parse());
        match &postgres {
            None => note("DATABASE_URL is not set (postgres://user:password@host:port/database)"),
            Some(Err(_)) => {
                note("DATABASE_URL is not a URL like postgres://user:password@host:port/database");
            }
            Some(Ok(_)) => {}
        }
        let redis = variable("REDIS_URL").map(redis::Client::open);
        match &redis {
            None => note("REDIS_URL is not set (redis://:password@host:port)"),
            Some(Err(_)) => note("REDIS_URL is not a URL like redis://:password@host:port"),
            Some(Ok(_)) => {}
        }

        match (host, port, postgres, redis) {
            (Some(host), Some(port), Some(Ok(postgres)), Some(Ok(redis))) => Ok(Self {
                listen: SocketAddr::new(host, port),
                postgres,
                redis,
                instance: variable("HOSTNAME").unwrap_or_else(|| "datastorage".to_owned()),
            }),
            _ => Err(ConfigError(errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let find =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Config::read(find).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_enough() {
        let config = read(&[("DATABASE_URL", "postgres://u:p@h/d"), ("REDIS_URL", "redis://h:1")]).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(config.instance, "datastorage");
    }

    #[test]
    fn tells_everything_that_is_wrong_and_no_password() {
        let error = read(&[
            ("HOST", "everywhere"),
            ("PORT", "99999"),
            ("DATABASE_URL", "postgres://u:hunter2@h:port/d"),
            ("REDIS_URL", "hunter2"),
        ])
        .err()
        .unwrap();
        for name in ["HOST", "PORT", "DATABASE_URL", "REDIS_URL"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn urls_are_required() {
        let error = read(&[]).err().unwrap();
        assert!(
            error.contains("DATABASE_URL is not set") && error.contains("REDIS_URL is not set"),
            "{error}"
        );
    }
}
