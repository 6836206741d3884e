//! Where the database is: the one of `database.url`, or the private cluster, whose places everybody
//! has to agree on.

use std::path::PathBuf;

use site_registry::cluster;

use super::model::Config;

impl Config {
    /// The private cluster's data folder.
    pub(crate) fn cluster_dir(&self) -> PathBuf {
        self.state_dir.join("postgres")
    }

    /// The folder of the private cluster's socket.
    pub(crate) fn cluster_socket_dir(&self) -> PathBuf {
        self.runtime_dir.join("postgres")
    }

    /// The URL of the database. Where `database.url` has a password, so has this.
    pub(crate) fn database_url(&self) -> String {
        match &self.database.url {
            Some(url) => url.expose().to_owned(),
            None => cluster::url(&self.cluster_socket_dir()),
        }
    }
}
