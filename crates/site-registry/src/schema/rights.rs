//! Which role needs which rights, as SQL to copy.
//!
//! Roles belong to the whole server and passwords to its operator, so no migration makes any. The
//! role that migrates needs `CREATE` on the database and owns what it makes; it needs no grant
//! below. The functions behind the triggers run with the rights of that owner and a fixed search
//! path, so an editor needs none on the tables they keep.

/// For a daemon with `database.migrate = false`, whose schema belongs to another role.
pub const DAEMON_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_daemon;
GRANT SELECT ON emperor.schema_version, emperor.reloads, emperor.django_source TO emperor_daemon;
GRANT INSERT, UPDATE ON emperor.reloads TO emperor_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.sites, emperor.domains, emperor.django_sites
    TO emperor_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.site_status TO emperor_daemon;
GRANT EXECUTE ON FUNCTION emperor.reload(bigint), emperor.django_site_ids(bigint)
    TO emperor_daemon;
GRANT SELECT ON emperor.purges, emperor.purges_forgotten TO emperor_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.purge_readers TO emperor_daemon;
GRANT SELECT, INSERT ON emperor.purge_dead_letters TO emperor_daemon;
GRANT EXECUTE ON FUNCTION emperor.purge(bigint, text[]), emperor.purge_prefix(bigint, text),
    emperor.purge_tags(bigint, text[]), emperor.purge_site(bigint),
    emperor.purge_hosts(bigint[], text[]),
    emperor.forget_purges(interval, interval, bigint), emperor.server_identity(),
    emperor.purge_lease(), emperor.watches(), emperor.explain_watches(regclass, jsonb)
    TO emperor_daemon;
";

/// For whoever writes rows, and no more. Leave the last line out to withhold reloads.
pub const EDITOR_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_editor;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.sites, emperor.domains, emperor.django_sites
    TO emperor_editor;
GRANT SELECT ON emperor.site_status TO emperor_editor;
GRANT EXECUTE ON FUNCTION emperor.reload(bigint) TO emperor_editor;
";

/// For whoever purges pages by name, and no more.
pub const PURGER_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_purger;
GRANT EXECUTE ON FUNCTION emperor.purge(bigint, text[]), emperor.purge_prefix(bigint, text),
    emperor.purge_tags(bigint, text[]), emperor.purge_site(bigint),
    emperor.purge_wait(bigint, interval) TO emperor_purger;
";

/// For whoever has tables watched; the tables have to be its own. Who writes to them needs nothing.
pub const WATCHER_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_watcher;
GRANT EXECUTE ON FUNCTION emperor.reload_on_change(regclass, text, text[]),
    emperor.purge_on_change(regclass, text, text, text, text[]), emperor.unwatch(regclass),
    emperor.find_sites_to_reload(), emperor.request_found_reloads(),
    emperor.find_pages_to_purge(), emperor.record_found_purges(),
    emperor.watches(), emperor.explain_watches(regclass, jsonb)
    TO emperor_watcher;
";
