//! What a configuration that is read again can't change while the daemon runs.

use super::model::Config;

impl Config {
    /// The keys that differ from those of the configuration `before` and take effect at the next
    /// start only: sockets, folders, sessions and threads that exist already.
    pub(crate) fn differences_that_need_a_restart(&self, before: &Self) -> Vec<&'static str> {
        let (database, router) = (&self.database, &self.router);
        let (policy, logs) = (&self.policy, &self.logs);
        let same = [
            ("node", self.node == before.node),
            ("state_dir", self.state_dir == before.state_dir),
            ("runtime_dir", self.runtime_dir == before.runtime_dir),
            ("database", *database == before.database),
            ("router.listen", router.listen == before.router.listen),
            ("router.threads", router.threads == before.router.threads),
            ("router.run_as", router.run_as == before.router.run_as),
            (
                "router.access_log",
                router.access_log == before.router.access_log,
            ),
            (
                "policy.uid_range",
                policy.uid_range == before.policy.uid_range,
            ),
            (
                "policy.allow_root",
                policy.allow_root == before.policy.allow_root,
            ),
            ("spawn", self.spawn == before.spawn),
            ("rollout", self.rollout == before.rollout),
            ("logs", *logs == before.logs),
            ("site", self.sites == before.sites),
        ];
        let differing = same.into_iter().filter(|(_, is_same)| !is_same);
        differing.map(|(key, _)| key).collect()
    }

    /// Whether purges are others' to hear than under the configuration `before`: other targets, or somebody
    /// keeps pages where nobody did.
    pub(crate) fn keeps_pages_otherwise(&self, before: &Self) -> bool {
        self.keeps_pages() != before.keeps_pages() || self.purge_targets != before.purge_targets
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Surroundings, parse};

    #[test]
    fn what_exists_already_is_named_and_the_rest_is_not() {
        let read = |text: &str| parse(text, None, &Surroundings::of_this_process()).unwrap();
        let check = |text: &str, expected: &[&str]| {
            let differences = read(text).differences_that_need_a_restart(&read(""));
            assert_eq!(differences, expected, "{text}");
        };
        check("", &[]);
        check(
            "node = 'other'\nrouter.threads = 3\n",
            &["node", "router.threads"],
        );
        check(
            "[database]\nmigrate = false\n[[site]]\nslug = 'a'\n",
            &["database", "site"],
        );
        check("[domains]\nrewrite = true\n[vassal.env]\nA = 'b'\n", &[]);
        check(
            "[reload]\nsettle = '1s'\n[router.cache]\nmemory = '0'\n",
            &[],
        );
    }
}
