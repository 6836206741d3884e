//! A worker's environment: clean, and the same on every machine.

use std::path::Path;

use super::identity::Account;
use super::order::Order;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// UTF-8 without a country: every Linux has it, and nothing is sorted or formatted by custom.
const LANG: &str = "C.UTF-8";

/// Variables in the order they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    /// What every process gets. Of the emperor's own environment only `TZ` is handed on.
    pub(super) fn clean(account: &Account, home: &Path) -> Self {
        let home = account
            .home
            .as_deref()
            .unwrap_or(home)
            .display()
            .to_string();
        let mut variables = Self(Vec::new());
        variables.set("PATH", PATH);
        variables.set("HOME", &home);
        variables.set("USER", &account.name);
        variables.set("LANG", LANG);
        if let Ok(zone) = std::env::var("TZ") {
            variables.set("TZ", &zone);
        }
        variables
    }

    /// Adds what tells a worker which site it serves, or which pool, and what the site wants besides. The latter
    /// may change what every process gets, and never what the emperor says of the site.
    pub(super) fn of_site(
        mut self,
        order: &Order,
        notify: &Path,
        wanted: &[(String, String)],
    ) -> Self {
        for (name, value) in wanted {
            self.set(name, value);
        }
        match &order.pool {
            None => {
                self.set("SITE_ID", &order.site.to_string());
                self.set("SITE_SLUG", &order.slug);
                self.set("SITE_DOMAIN", &order.domain);
            }
            // Which site it is, each request tells.
            Some(pool) => self.set("EMPEROR_POOL", pool),
        }
        self.set("EMPEROR_VASSAL", &order.slug);
        self.set("EMPEROR_INSTANCE", &order.number.to_string());
        self.set("NOTIFY_SOCKET", &notify.display().to_string());
        // Told of by vassal-exec, which knows the pid; a second one would be ambiguous.
        self.drop_reserved();
        if !order.watchdog.is_zero() {
            self.set("WATCHDOG_USEC", &order.watchdog.as_micros().to_string());
        }
        self
    }

    /// What a preloader gets: nothing of any site, and what those want that share it.
    pub(super) fn of_preloader(mut self, wanted: &[(String, String)]) -> Self {
        for (name, value) in wanted {
            self.set(name, value);
        }
        self.drop_reserved();
        self
    }

    fn drop_reserved(&mut self) {
        self.0
            .retain(|(name, _)| !name.starts_with("LISTEN_") && !name.starts_with("WATCHDOG_"));
    }

    pub(super) fn into_variables(self) -> Vec<(String, String)> {
        self.0
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}
