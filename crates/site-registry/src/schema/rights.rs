//! Which role needs which rights, as SQL to copy.
//!
//! Roles belong to the whole server and passwords to its operator, so no migration makes any. The
//! role that migrates needs `CREATE` on the database and owns what it makes; it needs no grant
//! below. The functions behind the triggers run with the rights of that owner and a fixed search
//! path, so an editor needs none on the tables they keep.

/// For a daemon with `database.migrate = false`, whose schema belongs to another role.
pub const DAEMON_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_daemon;
GRANT SELECT ON emperor.schema_version, emperor.reloads TO emperor_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.sites, emperor.domains TO emperor_daemon;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.site_status TO emperor_daemon;
GRANT EXECUTE ON FUNCTION emperor.reload(bigint) TO emperor_daemon;
";

/// For whoever writes rows, and no more. Leave the last line out to withhold reloads.
pub const EDITOR_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_editor;
GRANT SELECT, INSERT, UPDATE, DELETE ON emperor.sites, emperor.domains TO emperor_editor;
GRANT SELECT ON emperor.site_status TO emperor_editor;
GRANT EXECUTE ON FUNCTION emperor.reload(bigint) TO emperor_editor;
";

/// For whoever has tables watched; the tables have to be its own. Who writes to them needs nothing.
pub const WATCHER_GRANTS: &str = "\
GRANT USAGE ON SCHEMA emperor TO emperor_watcher;
GRANT EXECUTE ON FUNCTION emperor.reload_on_change(regclass, text, text[]),
    emperor.unwatch(regclass), emperor.find_sites_to_reload(), emperor.request_found_reloads()
    TO emperor_watcher;
";
